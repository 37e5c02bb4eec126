"""OpenAQ's parameters, licences and devices, as far as made-up worlds use them (sections 2.8, 2.10)."""

from __future__ import annotations

from openaq_pipeline.simulator.worlds.model import Country, Instrument, License, Named, Parameter, Provider

MASS = "µg/m³"

PARAMETERS = {
    parameter.id: parameter
    for parameter in (
        Parameter(19, "pm1", MASS, "PM1", "Particulate matter less than 1 micrometer in diameter mass concentration"),
        Parameter(
            2,
            "pm25",
            MASS,
            "PM2.5",
            "Particulate matter less than 2.5 micrometers in diameter mass concentration",
        ),
        Parameter(
            1,
            "pm10",
            MASS,
            "PM10",
            "Particulate matter less than 10 micrometers in diameter mass concentration",
        ),
        Parameter(125, "um003", "particles/cm³"),
        Parameter(8, "co", "ppm", "CO", "Carbon Monoxide concentration"),
        Parameter(7, "no2", "ppm", "NO₂", "Nitrogen Dioxide concentration"),
        Parameter(10, "o3", "ppm", "O₃", "Ozone concentration"),
        Parameter(9, "so2", "ppm", "SO₂", "Sulfur Dioxide concentration"),
        Parameter(15, "no2", "ppb"),
        Parameter(5, "no2", MASS, "NO₂ mass", "Nitrogen Dioxide mass concentration"),
        Parameter(3, "o3", MASS, "O₃ mass", "Ozone mass concentration"),
        Parameter(100, "temperature", "c"),
        Parameter(98, "relativehumidity", "%"),
    )
}

CC_BY = License(
    41,
    "CC BY 4.0 DEED",
    commercial_use_allowed=True,
    attribution_required=True,
    share_alike_required=True,
    modification_allowed=True,
    redistribution_allowed=True,
    source_url="https://creativecommons.org/licenses/by/4.0/",
)
US_PUBLIC_DOMAIN = License(
    33,
    "US Public Domain",
    commercial_use_allowed=True,
    attribution_required=False,
    share_alike_required=False,
    modification_allowed=True,
    redistribution_allowed=True,
    source_url="http://www.usa.gov/publicdomain/label/1.0/",
)
LICENSES = (US_PUBLIC_DOMAIN, CC_BY)

MAKER = Named(8, "Default Instrument Organization")
LOW_COST = Instrument(1, "Unknown Sensor", is_monitor=False, manufacturer=MAKER)
REFERENCE = Instrument(2, "Government Monitor", is_monitor=True, manufacturer=MAKER)

GOVERNMENT = Named(4, "Unknown Governmental Organization")
COMMUNITY = Named(6, "Unknown Community Organization")

AIRNOW = Provider(119, "AirNow", "AirNow", "airnow")
AIR_GRADIENT = Provider(66, "AirGradient", "AirGradient", "airgradient")
CLARITY = Provider(166, "clarity", "clarity", "clarity")

NEPAL = Country(145, "NP", "Nepal")
GHANA = Country(152, "GH", "Ghana")
UNITED_STATES = Country(155, "US", "United States")
