# What the scripts of data-pipeline.yml share: `. "$(dirname "$0")/common.sh"` in each. They run at the root of the code;
# report/ becomes the artifact, and .kept/ is what the cache keeps.
# shellcheck shell=bash
set -euo pipefail
mkdir -p report .kept

# End with a sentence in the log, and in a file from which it gets onto the page of the run and to Slack: what is wrong,
# and what to do. No text of an input may stand in it: the runner would obey a line that begins with two colons.
fail() {
    echo "::error title=$1::$2"
    printf '%s. %s\n' "$1" "$2" >report/problem.txt
    exit 2
}

# Run a program whose output quotes what others wrote, such as the names of stations: the runner obeys none of it.
# Returns its exit code. What it prints goes on to the log, and into the file named first as well.
shielded() {
    local file="$1" token code
    token="$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')"
    shift
    echo "::stop-commands::$token"
    set +e
    "$@" 2>&1 | tee "$file"
    code="${PIPESTATUS[0]}"
    set -e
    echo "::$token::"
    return "$code"
}
