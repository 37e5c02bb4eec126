// One small virtual machine that keeps the copy: its data on a disk of their own, the OpenAQ key in a key vault that the
// machine alone reads, a backup a day in a storage account. Nothing on the internet can open a connection to it, unless
// sshSource says who may. How to deploy, restore and what it costs: the chapter "Azure" of PIPELINE_README.md.

targetScope = 'resourceGroup'

@description('What to read, as `locations` of config.yaml has it: ids of stations, and selections such as { country: \'NP\' }.')
@minLength(1)
param locations array

@description('Your OpenAQ key. It goes into the key vault and nowhere else.')
@secure()
@minLength(1)
param openaqApiKey string

@description('The address (https) of the release of this project to install: a .tar.gz of the whole repository.')
param sourceUrl string

@description('The SHA-256 checksum of that file, in hexadecimal digits.')
@minLength(64)
@maxLength(64)
param sourceSha256 string

@description('The public SSH key of whoever looks after the machine. Azure wants one, even if nobody may connect.')
param sshPublicKey string

@description('From where SSH is let in, such as 203.0.113.7/32. Empty: from nowhere.')
param sshSource string = ''

@description('The region.')
param location string = resourceGroup().location

@description('The beginning of all names here.')
@minLength(3)
@maxLength(11)
param namePrefix string = 'openaq'

@description('The size of the machine. One GiB of memory is enough for some hundred stations, four for very many.')
param vmSize string = 'Standard_B2als_v2'

@description('The size of the data disk. A station of five hourly sensors takes less than 4 MB, and 0.3 MB more each year.')
@minValue(4)
@maxValue(4095)
param dataDiskGiB int = 32

@description('For so many days backups are kept.')
@minValue(7)
@maxValue(3650)
param backupDays int = 35

var suffix = uniqueString(resourceGroup().id)
var adminUsername = 'azureuser'
var secretName = 'openaq-api-key'
var containerName = 'backups'
var vaultName = take('${namePrefix}-${suffix}', 24)
var storageName = take('${toLower(replace(namePrefix, '-', ''))}${suffix}', 24)
var subnetName = 'machines'
var vaultSecretsUserRole = '4633458b-17de-408a-b874-0445c86b69e6'
var blobDataContributorRole = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

// What the machine is told at its first start; no secret is among it.
var keyUrl = 'https://${vaultName}${environment().suffixes.keyvaultDns}/secrets/${secretName}'
var backupUrl = 'https://${storageName}.blob.${environment().suffixes.storage}/${containerName}'
var template = loadTextContent('cloud-init.yaml')
var withSource = replace(replace(template, '@SOURCE_URL@', sourceUrl), '@SOURCE_SHA256@', toLower(sourceSha256))
var withUrls = replace(replace(withSource, '@KEY_URL@', keyUrl), '@BACKUP_URL@', backupUrl)
var cloudInit = replace(withUrls, '@LOCATIONS@', string(locations))

// --- the network: out to anywhere, in from nowhere ---

var sshRule = {
  name: 'ssh-from-one-place'
  properties: {
    priority: 100
    direction: 'Inbound'
    access: 'Allow'
    protocol: 'Tcp'
    sourceAddressPrefix: sshSource
    sourcePortRange: '*'
    destinationAddressPrefix: '*'
    destinationPortRange: '22'
  }
}
var nothingElse = {
  name: 'nothing-else'
  properties: {
    priority: 4096
    direction: 'Inbound'
    access: 'Deny'
    protocol: '*'
    sourceAddressPrefix: '*'
    sourcePortRange: '*'
    destinationAddressPrefix: '*'
    destinationPortRange: '*'
  }
}

resource securityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${namePrefix}-nsg'
  location: location
  properties: {
    securityRules: empty(sshSource) ? [nothingElse] : [sshRule, nothingElse]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: '${namePrefix}-vnet'
  location: location
  properties: {
    addressSpace: { addressPrefixes: ['10.20.0.0/24'] }
    subnets: [
      {
        name: subnetName
        properties: {
          addressPrefix: '10.20.0.0/27'
          networkSecurityGroup: { id: securityGroup.id }
          defaultOutboundAccess: false
          serviceEndpoints: [
            { service: 'Microsoft.KeyVault' }
            { service: 'Microsoft.Storage' }
          ]
        }
      }
    ]
  }

  resource subnet 'subnets' existing = {
    name: subnetName
  }
}

// The way out: a machine without an address of its own reaches nobody, and a NAT gateway costs more than all else here.
resource publicAddress 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: '${namePrefix}-ip'
  location: location
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource networkInterface 'Microsoft.Network/networkInterfaces@2024-05-01' = {
  name: '${namePrefix}-nic'
  location: location
  properties: {
    ipConfigurations: [
      {
        name: 'first'
        properties: {
          subnet: { id: network::subnet.id }
          privateIPAllocationMethod: 'Dynamic'
          publicIPAddress: { id: publicAddress.id }
        }
      }
    ]
  }
}

// --- who the machine is: an identity that outlives it. That of the machine itself would be another one after the machine
// was made anew, and Azure gives no role that was given to one to another. ---

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${namePrefix}-identity'
  location: location
}

// --- the key: read from the machine's subnet alone, and by nobody but its identity ---

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: vaultName
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Deny'
      virtualNetworkRules: [{ id: network::subnet.id }]
    }
  }

  resource key 'secrets' = {
    name: secretName
    properties: { value: openaqApiKey }
  }
}

resource readsKey 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault::key.id, identity.id, vaultSecretsUserRole)
  scope: vault::key
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', vaultSecretsUserRole)
  }
}

// --- the backups ---

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageName
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Cool'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Deny'
      virtualNetworkRules: [{ id: network::subnet.id, action: 'Allow' }]
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'
    properties: {
      // What somebody who has taken the machine deletes or overwrites can be had back for so long.
      deleteRetentionPolicy: { enabled: true, days: 14 }
      isVersioningEnabled: true
    }

    resource container 'containers' = {
      name: containerName
      properties: { publicAccess: 'None' }
    }
  }

  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: {
      policy: {
        rules: [
          {
            name: 'old-backups'
            enabled: true
            type: 'Lifecycle'
            definition: {
              filters: { blobTypes: ['blockBlob'], prefixMatch: ['${containerName}/'] }
              actions: {
                baseBlob: { delete: { daysAfterCreationGreaterThan: backupDays } }
                version: { delete: { daysAfterCreationGreaterThan: backupDays } }
              }
            }
          }
        ]
      }
    }
    dependsOn: [blobs]
  }
}

resource writesBackups 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage::blobs::container.id, identity.id, blobDataContributorRole)
  scope: storage::blobs::container
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributorRole)
  }
}

// --- the machine; the data disk is not part of it, and outlives it ---

resource dataDisk 'Microsoft.Compute/disks@2024-03-02' = {
  name: '${namePrefix}-data'
  location: location
  sku: { name: 'StandardSSD_LRS' }
  properties: {
    creationData: { createOption: 'Empty' }
    diskSizeGB: dataDiskGiB
    networkAccessPolicy: 'DenyAll'
    publicNetworkAccess: 'Disabled'
  }
}

resource machine 'Microsoft.Compute/virtualMachines@2024-07-01' = {
  name: '${namePrefix}-vm'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    hardwareProfile: { vmSize: vmSize }
    securityProfile: {
      securityType: 'TrustedLaunch'
      uefiSettings: { secureBootEnabled: true, vTpmEnabled: true }
    }
    storageProfile: {
      imageReference: {
        publisher: 'Debian'
        offer: 'debian-12'
        sku: '12-gen2'
        version: 'latest'
      }
      osDisk: {
        createOption: 'FromImage'
        managedDisk: { storageAccountType: 'StandardSSD_LRS' }
        deleteOption: 'Delete'
      }
      dataDisks: [
        {
          lun: 0
          createOption: 'Attach'
          managedDisk: { id: dataDisk.id }
          deleteOption: 'Detach'
          caching: 'None'
        }
      ]
    }
    osProfile: {
      computerName: '${namePrefix}-vm'
      adminUsername: adminUsername
      customData: base64(cloudInit)
      linuxConfiguration: {
        disablePasswordAuthentication: true
        ssh: {
          publicKeys: [{ path: '/home/${adminUsername}/.ssh/authorized_keys', keyData: sshPublicKey }]
        }
      }
    }
    networkProfile: {
      networkInterfaces: [{ id: networkInterface.id, properties: { deleteOption: 'Delete' } }]
    }
    diagnosticsProfile: { bootDiagnostics: { enabled: true } }
  }
}

@description('Where the machine is reached by SSH, if sshSource lets you in.')
output publicAddress string = publicAddress.properties.ipAddress

@description('The tunnel to the status page, which is then at http://127.0.0.1:8765/.')
output tunnel string = 'ssh -N -L 8765:127.0.0.1:8765 ${adminUsername}@${publicAddress.properties.ipAddress}'

@description('The key vault that holds the key.')
output keyVault string = vault.name

@description('The storage account of the backups.')
output storageAccount string = storage.name

@description('The disk that holds the data.')
output dataDisk string = dataDisk.name
