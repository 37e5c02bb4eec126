#!/usr/bin/env bash
# Run the pipeline once as the inputs of the workflow have it. Its report is left in report/run.json, its log beside it;
# the exit code is the program's own.
. "$(dirname "$0")/common.sh"

if [ -z "${OPENAQ_API_KEY:-}" ]; then
    fail "There is no key" "Set the secret OPENAQ_API_KEY under Settings, Secrets and variables, Actions; \
a key is free of charge: https://explore.openaq.org/register"
fi

arguments=(--data-dir data --json)
IFS=$', \n\t' read -r -d "" -a ids <<<"${LOCATIONS:-}" || true
for id in "${ids[@]}"; do
    [[ $id =~ ^[0-9]{1,10}$ ]] || fail "The input «locations» is wrong" "It takes ids of locations, blanks between them."
done
if [ ${#ids[@]} -gt 0 ]; then arguments+=(--locations "${ids[@]}"); fi
if [ -n "${DATE_FROM:-}" ]; then arguments+=("--date-from=$DATE_FROM" "--source=${SOURCE:-api}"); fi
if [ -n "${DATE_TO:-}" ]; then arguments+=("--date-to=$DATE_TO"); fi
if [ -z "${DATE_FROM:-}" ]; then arguments+=("--max-requests=${MAX_REQUESTS:-2000}"); fi
if [ "${RESET_STATE:-}" = true ]; then arguments+=(--reset-state); fi

# The report goes into a file, the log to whoever called.
# shellcheck disable=SC2069,SC2317
run() {
    timeout --preserve-status --kill-after=60 "${RUN_MINUTES}m" \
        python dataset/incremental_loader.py "${arguments[@]}" 2>&1 >report/run.json
}

export XDG_STATE_HOME="$PWD/.kept/state"
code=0
shielded report/run.log run || code=$?
cp data/pipeline.log* report/ 2>/dev/null || true
echo "code=$code" >>"$GITHUB_OUTPUT"
exit "$code"
