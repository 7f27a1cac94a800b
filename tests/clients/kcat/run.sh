#!/usr/bin/env bash
# Tests a Kafka broker with kcat, as a person at a shell would use it.
#
# The broker's address comes from ANNALS_KAFKA. Prints `ok NAME` or `FAIL NAME: why` for each test; an argument runs
# only the tests whose name contains it.
set -u -o pipefail

broker=${ANNALS_KAFKA:?names the broker as HOST:PORT}
filter=${1:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

# A name that no earlier run has used.
fresh() { echo "$1-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')"; }

# kcat for this broker, with a limit on its time.
kc() { timeout 60 kcat -q -b "$broker" "$@"; }

# Sends standard input to the topic $1.
produce() { local topic=$1; shift; kc -P -t "$topic" "$@"; }

# Prints the topic $1 from its beginning to its end.
consume() { local topic=$1; shift; kc -C -t "$topic" -o beginning -e "$@"; }

# Fails the test if $2 is not $1.
same() {
    [ "$1" = "$2" ] || { echo "expected $(printf %q "$1"), found $(printf %q "$2")"; return 1; }
}

# Fails the test if the text $2 does not contain $1.
contains() {
    case $2 in *"$1"*) ;; *) echo "expected $(printf %q "$1") in $(printf %q "$2")"; return 1 ;; esac
}

# Runs the function $1 with the other arguments as the test of that name, with spaces for underscores.
check() {
    local name="${*//_/ }" why
    [[ $name == *"$filter"* ]] || return 0
    if why=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "FAIL $name: ${why//$'\n'/ }"
        failures=$((failures + 1))
    fi
}

lines_read_back_in_order() {
    local topic; topic=$(fresh topic)
    seq 1 1000 | produce "$topic" || return 1
    same "$(seq 1 1000)" "$(consume "$topic")"
}

metadata_lists_the_topic() {
    local topic listing; topic=$(fresh topic)
    echo v | produce "$topic" || return 1
    listing=$(kcat -b "$broker" -L) || return 1
    contains "topic \"$topic\" with 1 partitions:" "$listing" || return 1
    contains "1 brokers:" "$listing"
}

metadata_is_given_as_JSON() {
    local topic listing; topic=$(fresh topic)
    echo v | produce "$topic" || return 1
    listing=$(kcat -b "$broker" -L -J -t "$topic") || return 1
    contains "\"topic\":\"$topic\"" "$listing" || return 1
    contains "\"brokers\":[{\"id\":" "$listing" || return 1
    contains "\"name\":\"$broker\"" "$listing"
}

keys_and_headers_are_kept() {
    local topic; topic=$(fresh topic)
    printf 'k1:v1\nk2:v2\n' | produce "$topic" -K : -H trace=1 -H trace=2 -H empty= || return 1
    same $'k1=v1 trace=1,trace=2,empty=\nk2=v2 trace=1,trace=2,empty=' "$(consume "$topic" -f '%k=%s %h\n')"
}

empty_keys_and_values_become_null_where_asked() {
    local topic; topic=$(fresh topic)
    printf 'gone:\n:keyless\n' | produce "$topic" -K : -Z || return 1
    same $'4 -1\n-1 7' "$(consume "$topic" -f '%K %S\n')"
}

offsets_count_from_zero() {
    local topic; topic=$(fresh topic)
    printf 'a\nb\nc\n' | produce "$topic" || return 1
    same $'0/0\n0/1\n0/2' "$(consume "$topic" -f '%p/%o\n')"
}

JSON_envelope_names_the_place() {
    local topic envelope; topic=$(fresh topic)
    echo 'v "quoted"' | produce "$topic" -k key || return 1
    envelope=$(consume "$topic" -J) || return 1
    contains "\"topic\":\"$topic\",\"partition\":0,\"offset\":0,\"tstype\":\"create\"" "$envelope" || return 1
    contains '"key":"key","payload":"v \"quoted\""' "$envelope"
}

reading_starts_at_an_offset() {
    local topic; topic=$(fresh topic)
    seq 0 99 | produce "$topic" || return 1
    same "$(seq 57 99)" "$(kc -C -t "$topic" -p 0 -o 57 -e)"
}

reading_starts_before_the_end() {
    local topic; topic=$(fresh topic)
    seq 0 99 | produce "$topic" || return 1
    same "$(seq 95 99)" "$(kc -C -t "$topic" -p 0 -o -5 -e)"
}

reading_ends_after_a_count() {
    local topic; topic=$(fresh topic)
    seq 0 99 | produce "$topic" || return 1
    same "$(seq 0 9)" "$(kc -C -t "$topic" -p 0 -o beginning -c 10)"
}

reading_starts_and_ends_at_a_time() {
    local topic start end; topic=$(fresh topic)
    echo before | produce "$topic" || return 1
    sleep 0.05; start=$(date +%s%3N)
    echo between | produce "$topic" || return 1
    sleep 0.05; end=$(date +%s%3N)
    echo after | produce "$topic" || return 1
    same $'between\nafter' "$(kc -C -t "$topic" -o "s@$start" -e)" || return 1
    same between "$(kc -C -t "$topic" -o "s@$start" -o "e@$end" -e)"
}

time_leads_to_an_offset() {
    local topic between; topic=$(fresh topic)
    echo before | produce "$topic" || return 1
    sleep 0.05; between=$(date +%s%3N)
    echo after | produce "$topic" || return 1
    same "$topic [0] offset 1" "$(kc -Q -t "$topic:0:$between")" || return 1
    same "$topic [0] offset 0" "$(kc -Q -t "$topic:0:1000")" || return 1
    same "$topic [0] offset 2" "$(kc -Q -t "$topic:0:-1")" || return 1
    same "$topic [0] offset 0" "$(kc -Q -t "$topic:0:-2")"
}

compression_with() {
    local topic; topic=$(fresh topic)
    seq 1 5000 | produce "$topic" -z "$1" || return 1
    same "$(seq 1 5000)" "$(consume "$topic")"
}

acknowledgements_of() {
    local topic; topic=$(fresh topic)
    echo first | produce "$topic" -X acks=all || return 1
    seq 1 100 | produce "$topic" -X "acks=$1" || return 1
    same 101 "$(kc -C -t "$topic" -o beginning -c 101 | wc -l)"
}

idempotent_producer_writes_each_line_once() {
    local topic; topic=$(fresh topic)
    seq 1 5000 | produce "$topic" -X enable.idempotence=true || return 1
    same "$(seq 1 5000)" "$(consume "$topic")"
}

a_file_is_one_message() {
    local topic; topic=$(fresh topic)
    head -c 900000 /dev/urandom > "$scratch/large"
    kc -P -t "$topic" "$scratch/large" || return 1
    consume "$topic" -D '' > "$scratch/found" || return 1
    cmp "$scratch/large" "$scratch/found"
}

a_message_above_the_limit_is_refused() {
    local topic answer; topic=$(fresh topic)
    head -c 2000000 /dev/zero > "$scratch/huge"
    answer=$(timeout 60 kcat -b "$broker" -P -t "$topic" -X message.max.bytes=10000000 "$scratch/huge" 2>&1) \
        && { echo "not refused"; return 1; }
    contains "Message size too large" "$answer"
}

unicode_survives() {
    local topic text='Grüße, Ἀθήνα, 東京, عربى, 🦀'; topic=$(fresh topic)
    echo "$text" | produce "$topic" -k "$text" || return 1
    same "$text=$text" "$(consume "$topic" -f '%k=%s\n')"
}

an_unknown_topic_is_named() {
    local topic answer; topic=$(fresh absent)
    answer=$(timeout 60 kcat -b "$broker" -C -t "$topic" -p 0 -o beginning -e 2>&1) && { echo "no error"; return 1; }
    contains "Unknown topic or partition" "$answer"
}

a_group_goes_on_where_it_stopped() {
    local topic group; topic=$(fresh topic) group=$(fresh group)
    seq 0 9 | produce "$topic" || return 1
    same "$(seq 0 9)" "$(kc -G "$group" -X auto.offset.reset=earliest -e "$topic")" || return 1
    seq 10 14 | produce "$topic" || return 1
    same "$(seq 10 14)" "$(kc -G "$group" -X auto.offset.reset=earliest -e "$topic")"
}

two_groups_each_read_everything() {
    local topic; topic=$(fresh topic)
    seq 0 9 | produce "$topic" || return 1
    for _ in 1 2; do
        same "$(seq 0 9)" "$(kc -G "$(fresh group)" -X auto.offset.reset=earliest -e "$topic")" || return 1
    done
}

check lines_read_back_in_order
check metadata_lists_the_topic
check metadata_is_given_as_JSON
check keys_and_headers_are_kept
check empty_keys_and_values_become_null_where_asked
check offsets_count_from_zero
check JSON_envelope_names_the_place
check reading_starts_at_an_offset
check reading_starts_before_the_end
check reading_ends_after_a_count
check reading_starts_and_ends_at_a_time
check time_leads_to_an_offset
for codec in none gzip snappy lz4 zstd; do check compression_with "$codec"; done
for acks in 0 1 all; do check acknowledgements_of "$acks"; done
check idempotent_producer_writes_each_line_once
check a_file_is_one_message
check a_message_above_the_limit_is_refused
check unicode_survives
check an_unknown_topic_is_named
check a_group_goes_on_where_it_stopped
check two_groups_each_read_everything

[ "$failures" -eq 0 ]
