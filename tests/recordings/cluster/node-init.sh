#!/bin/bash
# First process of a node, run by up.sh in fresh mount, pid and uts namespaces inside the node's network namespace:
# node-init.sh NAME. Starts containerd and kubelet and restarts them when they end; while $D/kubelet.off
# (containerd.off) exists it keeps them stopped.
. "$(dirname "$0")/env.sh"
N=$1 I=${1#n} D=$RUN/$1
hostname $N
mount -o loop $D/disk.img $D/fs
mount -t tmpfs tmpfs /run
for d in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log; do
  mkdir -p $D/fs$d $d; mount --bind $D/fs$d $d
done
echo "nameserver 127.0.0.1" >$D/resolv.conf; mount --bind $D/resolv.conf /etc/resolv.conf
# kubelet insists on these three; hide the real ones so that the machine's settings stay as they are
for s in vm/overcommit_memory:1 kernel/panic:10 kernel/panic_on_oops:1; do
  echo ${s#*:} >/run/${s//\//_}; mount --bind /run/${s//\//_} /proc/sys/${s%:*}
done
run_containerd() { containerd -c $D/containerd.toml; }
run_kubelet() {
  kubelet --config=$D/kubelet.yaml --kubeconfig=$D/kubelet.conf --hostname-override=$N --node-ip=10.77.0.1$I --v=1
}
declare -A P
while :; do
  for s in containerd kubelet; do
    if [ -e $D/$s.off ]; then
      [ -z "${P[$s]}" ] || pkill -TERM -P ${P[$s]}; P[$s]=
    elif [ -z "${P[$s]}" ] || ! kill -0 ${P[$s]} 2>/dev/null; then
      run_$s >>$D/$s.log 2>&1 & P[$s]=$!
      [ $s = kubelet ] || for _ in {1..50}; do [ -S /run/containerd/containerd.sock ] && break; sleep .1; done
      [ $s = kubelet ] || [ -e $D/imported ] || { sleep .5; ctr -n k8s.io images import --local $IMAGES/pause.tar >>$D/containerd.log 2>&1 && touch $D/imported; }
    fi
  done
  sleep 1
done
