#!/usr/bin/env bash
# Keep the data between runs, each of which has a machine of its own.
#
#   data.sh take      lay the data of the last run in data/
#   data.sh keep      commit and push what is new, if anything is
#   data.sh remember  put by in .kept/, for the cache, what is no reason for a commit
#
# With DATA_STORE=commit, data/ is a clone of the branch DATA_BRANCH, one commit deep. State, metrics and alerts change at
# each run, so they are committed along with data only; what they say since is in .kept/, with the commit that it belongs
# to, and counts only as long as the branch stands there. So the state is never ahead of the data.
. "$(dirname "$0")/common.sh"

# No reason for a commit, and what to take where somebody else pushed too: our own, which the program trusts only as far
# as the data bear it out.
books=(.state.json .alerts.json .selections.json metrics.json locations.json licenses.json .audit .backfill .repair)
not_kept=(.lock .locks/ .alerts.lock .probe '.*.tmp' 'pipeline.log*' '*budget-*')
attempts=5

in_data() { git -C data "$@"; }
standing() { in_data rev-parse --quiet --verify HEAD || echo none; }

take() {
    case "${DATA_STORE:=commit}" in
    commit) take_branch ;;
    cache) take_cache ;;
    *) fail "The variable DATA_STORE is wrong" "It is commit or cache." ;;
    esac
    python3 .github/scripts/ledger.py take .kept
}

take_branch() {
    local found=0
    if [ "$DATA_BRANCH" = "${GITHUB_REF_NAME:-}" ]; then
        fail "The data have no branch of their own" "Start the workflow on another branch than «data»."
    fi
    git init --quiet --initial-branch "$DATA_BRANCH" data
    in_data remote add origin "$(git remote get-url origin)"
    in_data config user.name "github-actions[bot]"
    in_data config user.email "41898282+github-actions[bot]@users.noreply.github.com"
    # Git asks this when the server wants to know: so the token is in no file and on no command line.
    # shellcheck disable=SC2016
    in_data config credential.helper '!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f'
    printf '%s\n' "${not_kept[@]}" >data/.git/info/exclude
    printf '%s merge=ours-anew\n' "${books[@]}" "${books[@]/%//**}" >data/.git/info/attributes
    echo '/location_*.json merge=rows' >>data/.git/info/attributes
    in_data config merge.ours-anew.driver 'cp %B %A'
    in_data config merge.rows.driver "python3 '$PWD/.github/scripts/rows.py' %O %A %B"
    in_data ls-remote --exit-code origin "refs/heads/$DATA_BRANCH" >/dev/null || found=$?
    case $found in
    0)
        in_data fetch --quiet --depth 1 origin "refs/heads/$DATA_BRANCH"
        in_data reset --quiet --hard FETCH_HEAD
        ;;
    2) echo "There is no branch «$DATA_BRANCH» yet: the first rows make it." ;;
    *) fail "The branch of the data could not be looked up" "Run the workflow again." ;;
    esac
    # Without a commit it is the whole of the other store, which counts where there is no branch yet.
    if [ "$(cat .kept/standing 2>/dev/null || echo none)" = "$(standing)" ] && [ -d .kept/data ]; then
        cp --archive .kept/data/. data/
    fi
}

take_cache() {
    if [ -d .kept/data ] && [ ! -e .kept/standing ]; then # else it is only what the branch does not have
        cp --archive .kept/data data
    elif [ "${GITHUB_EVENT_NAME:-}" = schedule ]; then
        fail "GitHub's cache has no data" "If this is the first run, or they are gone for good: start the workflow by hand."
    else
        mkdir data
    fi
}

keep() {
    if [ "${DATA_STORE:=commit}" = cache ]; then return; fi
    in_data add --all
    if in_data diff --cached --quiet -- . "${books[@]/#/:(exclude)}"; then
        echo "No row is new: nothing to commit."
        in_data reset --quiet 2>/dev/null || in_data rm -r --quiet --cached . # before the first commit
        return
    fi
    in_data commit --quiet --message "$(python3 .github/scripts/report.py subject)"
    if ! push; then
        tar --create --gzip --file report/unpushed.tar.gz --exclude=.git data
        fail "The data could not be pushed" "They are in the artifact of this run, in unpushed.tar.gz; \
the next run asks OpenAQ for the same rows again."
    fi
    echo "commit=$(standing)" >>"$GITHUB_OUTPUT"
    in_data show --stat --oneline HEAD
}

# Push, on top of what others pushed meanwhile and never over it. Fails if that can't be brought together.
push() {
    local attempt
    for ((attempt = 1; attempt <= attempts; attempt++)); do
        if in_data push --quiet origin "HEAD:refs/heads/$DATA_BRANCH"; then return 0; fi
        echo "The push was refused; try $attempt of $attempts."
        sleep "$((attempt * ${PAUSE_SECONDS:-3}))"
        in_data fetch --quiet origin "refs/heads/$DATA_BRANCH" || continue
        # Our one commit and no more: what others took out of a history that they wrote anew stays out.
        if ! in_data rebase --quiet --onto FETCH_HEAD "$(in_data rev-parse --quiet --verify HEAD^ || echo --root)"; then
            in_data rebase --abort
            return 1
        fi
    done
    return 1
}

# Where the data were not taken up, what was restored is handed on as it is; if nothing whole was, nothing is: the cache may
# only have been out of reach, and with DATA_STORE=cache the data themselves are in what the newest would hide.
remember() {
    local path
    if [ "${TAKE:-}" != success ]; then
        if [ ! -e .kept/whole ]; then rm -rf .kept; fi
        return
    fi
    rm -rf .kept/whole .kept/data .kept/standing
    if [ "${DATA_STORE:=commit}" = cache ]; then
        mv data .kept/data
    else
        standing >.kept/standing
        mkdir .kept/data
        in_data ls-files -z --modified --others --exclude-standard | while IFS= read -r -d '' path; do
            if [ -e "data/$path" ]; then (cd data && cp --archive --parents "$path" ../.kept/data/); fi
        done
    fi
    python3 .github/scripts/ledger.py remember .kept
    touch .kept/whole
}

"$1"
