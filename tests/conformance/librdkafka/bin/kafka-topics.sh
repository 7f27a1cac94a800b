#!/usr/bin/env bash
# Stands in for Apache Kafka's script of this name, which some of librdkafka's tests call: creates, changes and deletes
# topics with the `annals` command, which is in ANNALS.
set -euo pipefail

action= topic= options=()
while [ $# -gt 0 ]; do
    case $1 in
        --create | --alter | --delete) action=${1#--}; shift ;;
        --topic) topic=$2; shift 2 ;;
        --bootstrap-server | --partitions | --replication-factor | --config) options+=("$1" "$2"); shift 2 ;;
        *) echo "kafka-topics.sh: $1 is not known here" >&2; exit 2 ;;
    esac
done
[ "$action" != delete ] || options+=(--yes)
exec "${ANNALS:-annals}" topic "$action" "$topic" "${options[@]}"
