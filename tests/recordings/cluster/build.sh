#!/bin/bash
# Builds all binaries from the Go module proxy: ten minutes once, 560 MB. What is there already stays.
set -euo pipefail
. "$(dirname "$0")/env.sh"
KUBERNETES=1.37.2 ETCD=v3.7.3 CONTAINERD=v2.4.2 RUNC=v1.5.2 CNI=v1.9.1
SRC=$CACHE/src; mkdir -p $BIN/cni $SRC/kubernetes $SRC/etcd
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

missing=; for p in socat busybox-static libseccomp-dev pkg-config gcc libc6-dev jq; do dpkg -s $p >/dev/null 2>&1 || missing+=" $p"; done
[ -z "$missing" ] || { echo "install Debian packages first: apt-get install$missing" >&2; exit 1; }

commands="kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl"
if ! ls $(printf "$BIN/%s " $commands) >/dev/null 2>&1; then (
  cd $SRC/kubernetes
  printf 'module epicenter.dev/nodes\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v%s\n' $KUBERNETES >go.mod
  upstream=$(go mod download -json k8s.io/kubernetes@v$KUBERNETES | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
  # Its staging modules are folders of its repository there, and published ones here.
  sed -n "s#^\s*\(k8s.io/[a-z0-9-]*\) => ./staging/.*#replace \1 => \1 v0.${KUBERNETES#*.}#p" $upstream/go.mod >>go.mod
  { printf '//go:build tools\npackage tools\nimport (\n'; printf '_ "k8s.io/kubernetes/cmd/%s"\n' $commands; echo ")"; } >tools.go
  go mod tidy
  v=k8s.io/component-base/version
  go build -o $BIN/ -ldflags "-s -w -X $v.gitVersion=v$KUBERNETES -X $v.gitMajor=1 -X $v.gitMinor=${KUBERNETES:2:2}" $(printf 'k8s.io/kubernetes/cmd/%s ' $commands)
); fi
[ -x $BIN/etcd ] || (
  cd $SRC/etcd
  printf 'module epicenter.dev/etcd\n\ngo 1.26.0\n' >go.mod
  printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' >main.go
  go get go.etcd.io/etcd/server/v3@$ETCD; go mod tidy; go build -ldflags "-s -w" -o $BIN/etcd .
)
[ -x $BIN/containerd ] || GOBIN=$BIN go install -ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$CONTAINERD" \
  github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@$CONTAINERD
# cgo: its nsenter is C; without the seccomp tag no pod starts.
[ -x $BIN/runc ] || GOBIN=$BIN CGO_ENABLED=1 go install -tags seccomp -ldflags "-s -w" github.com/opencontainers/runc@$RUNC
[ -x $BIN/cni/bridge ] || GOBIN=$BIN/cni go install -ldflags "-s -w" \
  github.com/containernetworking/plugins/plugins/{main/{loopback,bridge,ptp},ipam/host-local,meta/portmap}@$CNI
du -sh $BIN
