#!/bin/bash
# Stops what up.sh started (by recorded pid; a node's first process takes its whole pid namespace along) and removes run/.
. "$(dirname "$0")/env.sh"
for f in $RUN/*.pid; do [ -e $f ] && kill -TERM $(cat $f) 2>/dev/null; done
for _ in {1..50}; do for f in $RUN/*.pid; do [ -e $f ] && kill -0 $(cat $f) 2>/dev/null && { sleep .2; continue 2; }; done; break; done
for f in $RUN/*.pid; do [ -e $f ] && kill -KILL $(cat $f) 2>/dev/null; done
sleep 1
for n in $(ip netns | sed -n "s/^\(rc-[a-z0-9]*\).*/\1/p"); do ip netns del $n; find /sys/fs/cgroup/*/$n -depth -type d -exec rmdir {} \; 2>/dev/null; done
rm -rf $RUN
ls -d /sys/fs/cgroup/*/rc-* 2>/dev/null; losetup -a | grep $RUN; true
