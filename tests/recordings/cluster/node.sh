#!/bin/bash
# node.sh NODE kubelet-stop|kubelet-start|containerd-stop|containerd-start|sh [COMMAND…], or node.sh registry stop|start
. "$(dirname "$0")/env.sh"
case "$1 $2" in
"registry stop") kill $(cat $RUN/registry.pid) ;;
"registry start") spawn_registry ;;
*-stop) touch $RUN/$1/${2%-stop}.off ;;
*-start) rm -f $RUN/$1/${2%-start}.off ;;
*" sh") node=$1; shift 2; in_node $node "${@:-bash}" ;;
esac
