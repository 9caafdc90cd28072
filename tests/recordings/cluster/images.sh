#!/bin/bash
# Makes the images, of static binaries only: blobs/ and refs/ as registry.py serves them, and pause.tar for `ctr import`.
set -euo pipefail
. "$(dirname "$0")/env.sh"
I=$IMAGES; rm -rf $I; mkdir -p $I/{blobs,refs,root/bin,root/tmp,proot}
cat >$I/pause.c <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGCHLD, reap); for (;;) pause(); }
C
cat >$I/hog.c <<'C'
/* hog MIB SECONDS [STEP_MIB]: takes memory step by step (0.1 s each), holds it, exits 0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int c, char **v) {
  long m = atol(v[1]), s = atol(v[2]), step = c > 3 ? atol(v[3]) : 10;
  for (long i = 0; i < m; i += step) { char *p = malloc(step << 20); if (!p) { puts("malloc failed"); return 3; } memset(p, 1, step << 20); usleep(100000); }
  printf("holding %ld MiB\n", m); fflush(stdout); sleep(s); return 0;
}
C
gcc -O2 -static -s -o $I/proot/pause $I/pause.c; gcc -O2 -static -s -o $I/root/bin/hog $I/hog.c
cp /bin/busybox $I/root/bin/; for a in $(busybox --list); do [ $a = busybox ] || ln -sf busybox $I/root/bin/$a; done

sha() { sha256sum "$1" | cut -c1-64; }
keep() { local d; d=$(sha "$1"); mv "$1" $I/blobs/sha256:$d; echo sha256:$d; }
image() { # [ARCH=A] image ROOT REF CMD...
  local root=$1 ref=$2; shift 2
  tar -C $root --owner=0 --group=0 --mtime=@0 --sort=name -cf $I/layer .
  local ls=$(stat -c%s $I/layer) l; l=$(keep $I/layer)
  jq -nc --arg l $l --arg ref $ref --arg arch ${ARCH:-amd64} '{architecture:$arch,os:"linux",config:{Env:["PATH=/bin"],Cmd:$ARGS.positional,Labels:{ref:$ref}},rootfs:{type:"layers",diff_ids:[$l]}}' --args "$@" >$I/config
  local cs=$(stat -c%s $I/config) c; c=$(keep $I/config)
  local t=application/vnd.oci.image
  jq -nc --arg t $t --arg c $c --argjson cs $cs --arg l $l --argjson ls $ls '{schemaVersion:2,mediaType:"\($t).manifest.v1+json",
    config:{mediaType:"\($t).config.v1+json",digest:$c,size:$cs},layers:[{mediaType:"\($t).layer.v1.tar",digest:$l,size:$ls}]}' >$I/manifest
  keep $I/manifest >$I/refs/$ref
}
image $I/proot pause:3 /pause
for r in busybox:1.35 app:1.0 app:1.1 worker:1.0; do image $I/root $r sh; done
ARCH=arm64 image $I/root app:1.0-arm64 sh                      # says that it is for other machines; containerd runs it
# OCI archive of the pause image, for `ctr import` (the sandbox image must be there before any pull)
m=$(cat $I/refs/pause:3); T=$I/oci; mkdir -p $T/blobs/sha256
for d in $m $(jq -r '.config.digest, .layers[].digest' $I/blobs/$m); do cp $I/blobs/$d $T/blobs/sha256/${d#sha256:}; done
echo '{"imageLayoutVersion":"1.0.0"}' >$T/oci-layout
jq -nc --arg m $m --argjson s $(stat -c%s $I/blobs/$m) '{schemaVersion:2,manifests:[{mediaType:"application/vnd.oci.image.manifest.v1+json",digest:$m,size:$s,
  annotations:{"io.containerd.image.name":"registry.test/pause:3"}}]}' >$T/index.json
tar -C $T -cf $I/pause.tar . && rm -rf $T
ls -s1h $I/pause.tar $I/root/bin/{hog,busybox}
