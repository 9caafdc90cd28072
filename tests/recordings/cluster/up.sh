#!/bin/bash
# Starts etcd, apiserver, controller-manager, scheduler and a local registry in the network namespace rc-cp, and each
# node of $NODES (containerd + kubelet) in its own rc-<node>. Nothing listens outside those namespaces but a forwarder
# on 127.0.0.1:$PORT, for kubectl with KUBECONFIG=run/admin.conf.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ ! -e $RUN ] || { echo "run/ exists: down.sh first" >&2; exit 1; }
[ -e $IMAGES/pause.tar ] || $HERE/images.sh
mkdir -p $RUN/log; T0=$(date +%s.%N)

### network: bridge in rc-cp, one veth per node, pod routes between nodes
ip netns add rc-cp; ip -n rc-cp link set lo up
ip -n rc-cp link add br0 type bridge; ip -n rc-cp addr add 10.77.0.1/24 dev br0; ip -n rc-cp link set br0 up
for n in $NODES; do
  i=${n#n}; ip netns add rc-$n; ip -n rc-$n link set lo up
  ip -n rc-cp link add v$n type veth peer name eth0 netns rc-$n
  ip -n rc-cp link set v$n master br0 up
  ip -n rc-$n addr add 10.77.0.1$i/24 dev eth0; ip -n rc-$n link set eth0 up
done
for n in $NODES; do for m in $NODES cp; do
  case $m in $n) ;; cp) ip -n rc-cp route add 10.244.${n#n}.0/24 via 10.77.0.1${n#n} ;;
  *) ip -n rc-$n route add 10.244.${m#n}.0/24 via 10.77.0.1${m#n} ;; esac
done; done

### control plane
cd $RUN
openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
{ echo 'tok,admin,admin,"system:masters"'
  for c in kube-controller-manager kube-scheduler; do echo "tok-$c,system:$c,$c"; done
  for n in $NODES; do echo "tok-$n,system:node:$n,$n,\"system:nodes\""; done; } >tokens.csv
conf() { cat <<Y
apiVersion: v1
kind: Config
clusters: [{name: real, cluster: {server: "https://$1", insecure-skip-tls-verify: true}}]
users: [{name: $3, user: {token: $2}}]
contexts: [{name: real, context: {cluster: real, user: $3}}]
current-context: real
Y
}
conf 127.0.0.1:$PORT tok admin >admin.conf
for c in kube-controller-manager kube-scheduler; do conf $API tok-$c $c >$c.conf; done

spawn etcd nsenter --net=/run/netns/rc-cp etcd --data-dir etcd --unsafe-no-fsync --log-level warn
spawn_registry
spawn kube-apiserver nsenter --net=/run/netns/rc-cp kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=10.77.0.1 --advertise-address=10.77.0.1 --secure-port=6443 --cert-dir=certs --token-auth-file=tokens.csv \
  --service-account-key-file=sa.pub --service-account-signing-key-file=sa.key --service-account-issuer=https://kubernetes.default.svc \
  --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
  --default-not-ready-toleration-seconds=${EVICT_AFTER:-30} --default-unreachable-toleration-seconds=${EVICT_AFTER:-30}
# a unix socket crosses network namespaces: host 127.0.0.1:$PORT -> api.sock -> 10.77.0.1:6443
spawn fwd-in nsenter --net=/run/netns/rc-cp socat UNIX-LISTEN:$RUN/api.sock,fork TCP:$API
spawn fwd-out socat TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:$RUN/api.sock
waitfor 60 kubectl get --raw /readyz
spawn kube-controller-manager nsenter --net=/run/netns/rc-cp kube-controller-manager --kubeconfig=kube-controller-manager.conf \
  --authentication-kubeconfig=kube-controller-manager.conf --authorization-kubeconfig=kube-controller-manager.conf \
  --service-account-private-key-file=sa.key --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1 \
  --node-monitor-grace-period=${NODE_GRACE:-20s} --node-monitor-period=2s
spawn kube-scheduler nsenter --net=/run/netns/rc-cp kube-scheduler --kubeconfig=kube-scheduler.conf \
  --authentication-kubeconfig=kube-scheduler.conf --authorization-kubeconfig=kube-scheduler.conf --leader-elect=false --bind-address=127.0.0.1
echo "control plane ready after $(echo "$(date +%s.%N) - $T0" | bc) s"

### nodes: each looks like ${CPU:-1} CPU and ${MEM:-3} GiB with a disk of ${DISK:-3G}; the rest of the machine is "system reserved"
total=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
for n in $NODES; do
  D=$RUN/$n; mkdir -p $D/{fs,cni,certs.d/registry.test}; conf $API tok-$n $n >$D/kubelet.conf
  truncate -s ${DISK:-3G} $D/disk.img; mkfs.ext4 -q -m 0 $D/disk.img
  echo "server = \"http://$REGISTRY\"" >$D/certs.d/registry.test/hosts.toml
  cat >$D/cni/10-bridge.conflist <<Y
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.${n#n}.0/24"}]]}}]}
Y
  cat >$D/containerd.toml <<Y
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'registry.test/pause:3'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '$D/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['$BIN/cni']
  conf_dir = '$D/cni'
Y
  cat >$D/kubelet.yaml <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 10.77.0.1${n#n}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /rc-$n
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
serializeImagePulls: false
nodeStatusUpdateFrequency: 5s
volumeStatsAggPeriod: 10s
evictionPressureTransitionPeriod: 30s
systemReserved: {cpu: "$(($(nproc) - ${CPU:-1}))", memory: $((total - ${MEM:-3} * 1024))Mi}
evictionHard: {memory.available: 500Mi, nodefs.available: 700Mi, nodefs.inodesFree: 5%, imagefs.available: 500Mi}
Y
  for c in /sys/fs/cgroup/*/; do [ $c = /sys/fs/cgroup/unified/ ] || mkdir -p $c/rc-$n; done
  for f in cpus mems; do cat /sys/fs/cgroup/cpuset/cpuset.$f >/sys/fs/cgroup/cpuset/rc-$n/cpuset.$f; done
  spawn $n nsenter --net=/run/netns/rc-$n unshare -m -u -p -f --kill-child --propagation private --mount-proc bash $HERE/node-init.sh $n
done
for n in $NODES; do waitfor 90 kubectl wait --for=condition=Ready node/$n --timeout=1s; done
waitfor 60 bash -c "! kubectl get nodes -o jsonpath={.items[*].spec.taints} | grep -q ."
echo "nodes ready after $(echo "$(date +%s.%N) - $T0" | bc) s"; kubectl get nodes -o wide
