# What the scripts here share; sourced by them.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${EPICENTER_TEST_CACHE:-$HOME/.cache/epicenter}/nodes     # what build.sh and images.sh made
BIN=$CACHE/bin IMAGES=$CACHE/images
RUN=${RUN:-$CACHE/run}                                          # the running cluster
NODES=${NODES:-n1 n2}          # node nX has address 10.77.0.1X and pod range 10.244.X.0/24
PORT=${PORT:-16443}            # the API server as the machine sees it: https://127.0.0.1:$PORT
API=10.77.0.1:6443             # the API server inside the network namespaces
REGISTRY=10.77.0.1:5000        # what images call registry.test
export PATH=$BIN:$PATH KUBECONFIG=$RUN/admin.conf

# spawn NAME COMMAND…: in the background, with its pid in $RUN/NAME.pid
spawn() { local name=$1; shift; setsid "$@" >>$RUN/log/$name.log 2>&1 </dev/null & echo $! >$RUN/$name.pid; }
spawn_registry() { spawn registry nsenter --net=/run/netns/rc-cp python3 -u $HERE/registry.py ${REGISTRY%:*} ${REGISTRY#*:} $IMAGES; }
waitfor() { local seconds=$1; shift; for ((i = 0; i < seconds * 5; i++)); do "$@" >/dev/null 2>&1 && return; sleep .2; done; echo "timeout: $*" >&2; return 1; }
# The pid of a node's first process, as the machine sees it; and a command inside a node.
node_pid() { cat /proc/$(cat $RUN/$1.pid)/task/*/children | tr -d ' \n'; }
in_node() { local node=$1; shift; nsenter -t $(node_pid $node) -m -n -p -u "$@"; }
