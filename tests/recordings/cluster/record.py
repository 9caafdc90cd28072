#!/usr/bin/env python3
"""Plays a scenario on the running cluster, and writes what its API server said, and the truth.

usage: record.py SCENARIO.py FOLDER [--speed F]    (F < 1 shortens every wait, to try a scenario out)

A scenario defines HEALTHY (a command), FAULTS (of `fault`), QUIET (of `quiet`: changes that are no fault) and LENGTH in
seconds. Commands run in the scenario's folder, with `kubectl` and `node.sh` in the path."""
import argparse, collections, datetime, gzip, json, os, subprocess, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ("pods,nodes,namespaces,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,configmaps,resourcequotas,"
         "limitranges,persistentvolumeclaims,poddisruptionbudgets,horizontalpodautoscalers")
STREAMS = {"watch": "/api/v1/events", "watch-pods": "/api/v1/pods", "watch-nodes": "/api/v1/nodes",
           "watch-deployments": "/apis/apps/v1/deployments", "watch-replicasets": "/apis/apps/v1/replicasets"}

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("scenario")
arguments.add_argument("folder")
arguments.add_argument("--speed", type=float, default=1.0)
asked = arguments.parse_args()
folder = os.path.abspath(asked.folder)
os.makedirs(folder, exist_ok=True)
where = os.path.dirname(os.path.abspath(asked.scenario))
paths = subprocess.run(["bash", "-c", f". {HERE}/env.sh; echo $KUBECONFIG; echo $PATH"], capture_output=True, text=True, check=True)
kubeconfig, path = paths.stdout.split()
env = dict(os.environ, KUBECONFIG=kubeconfig, PATH=f"{HERE}:{path}")


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sh(command):
    done = subprocess.run(command, shell=True, env=env, cwd=where, capture_output=True, text=True)
    print(f"{time.time() - began:6.1f} {command} -> {done.returncode} {done.stderr.strip()[:200]}", flush=True)
    return done.stdout


def fault(name, at, until, root, cause, mine, begin=None, finish=None, accept=()):
    """From `at` to `until` (None: to the end); `mine` says whether an object is affected; `accept` are further roots that
    count as right, `*` for anything."""
    return dict(name=name, at=at, until=until, root=root, cause=cause, mine=mine, accept=[root, *accept],
                begin=begin or f"kubectl apply -f {name}.yaml", finish=finish or f"kubectl delete --wait=false -f {name}.yaml")


def quiet(name, at, command):
    return dict(name=name, at=at, until=None, begin=command)


scenario = dict(fault=fault, quiet=quiet)
exec(open(asked.scenario).read(), scenario)
FAULTS, QUIET, LENGTH = scenario["FAULTS"], scenario["QUIET"], scenario["LENGTH"]

began = time.time()
watches = [subprocess.Popen(["kubectl", "get", "--raw", f"{path}?watch=1&timeoutSeconds=3600"], env=env, stdout=open(f"{folder}/{name}.jsonl", "w"))
           for name, path in STREAMS.items()]

# Every object that was ever there, by uid: from when to when, and what `mine` may ask of it.
seen, over = {}, threading.Event()


def look():
    while not over.wait(2):
        listed = subprocess.run(["kubectl", "get", KINDS, "-A", "-o", "json"], env=env, capture_output=True, text=True)
        for it in json.loads(listed.stdout)["items"] if listed.returncode == 0 else []:
            meta, spec, status = it["metadata"], it.get("spec", {}), it.get("status") or {}
            pod = it if it["kind"] == "Pod" else spec.get("template", {})
            labels = (pod.get("metadata") or {}).get("labels") or meta.get("labels") or {}
            images = [c.get("image") for c in (pod.get("spec") or {}).get("containers", [])]
            one = seen.setdefault(meta["uid"], dict(kind=it["kind"], ns=meta.get("namespace", ""), name=meta["name"], uid=meta["uid"],
                                                    app=labels.get("app", ""), images=images, first=time.time(), node="", evicted=0))
            one["last"] = time.time()
            one["node"] = spec.get("nodeName") or one["node"]
            one["evicted"] = one["evicted"] or (time.time() if status.get("reason") == "Evicted" else 0)


threading.Thread(target=look, daemon=True).start()
sh(scenario["HEALTHY"])
steps = [(it["at"], "begin", it) for it in FAULTS + QUIET] + [(it["until"], "finish", it) for it in FAULTS if it["until"]]
for at, what, it in sorted(steps, key=lambda step: step[:2]):
    time.sleep(max(0, began + at * asked.speed - time.time()))
    it[what + "_time"], it[what + "_at"] = now(), time.time()
    # A drain takes its time, and must not hold up the next step.
    threading.Thread(target=sh, args=(it[what],)).start()
time.sleep(max(0, began + LENGTH * asked.speed - time.time()))
over.set()


def affected(it):
    own = lambda one: it["mine"](one) or it["root"] == f"{one['kind']}/{one['ns']}/{one['name']}"
    during = lambda one: one["last"] >= it["begin_at"] and one["first"] <= it.get("finish_at", time.time()) + 5
    hit = [dict(kind=one["kind"], namespace=one["ns"], name=one["name"], uid=one["uid"], node=one["node"])
           for one in seen.values() if own(one) and during(one)]
    return sorted(hit, key=lambda one: (one["kind"], one["name"]))


truth = dict(recorded_from=datetime.datetime.fromtimestamp(began, datetime.timezone.utc).isoformat(), to=now(),
             faults=[dict(name=it["name"], start=it["begin_time"], end=it.get("finish_time"), cause=it["cause"], root=it["root"],
                          accept=it["accept"], begin=it["begin"], finish=it["finish"], affected=affected(it)) for it in FAULTS],
             quiet=[dict(name=it["name"], at=it["begin_time"], command=it["begin"]) for it in QUIET])
json.dump(truth, open(f"{folder}/truth.json", "w"), indent=1)
objects = json.loads(sh(f"kubectl get {KINDS} -A -o json"))
for it in objects["items"]:
    if "ca.crt" in it.get("data", {}):
        it["data"]["ca.crt"] = ""
events = sh("kubectl get events -A -o json")
for watch in watches:
    watch.terminate()
    watch.wait()
for name in STREAMS:
    with open(f"{folder}/{name}.jsonl", "rb") as text, gzip.open(f"{folder}/{name}.jsonl.gz", "wb") as packed:
        # What the watch was writing when it ended is no message.
        packed.writelines(line for line in text if line.endswith(b"\n"))
    os.remove(f"{folder}/{name}.jsonl")
for name, text in [("events", events), ("objects", json.dumps(objects))]:
    with gzip.open(f"{folder}/{name}.json.gz", "wt") as packed:
        packed.write(text)
for reason, count in collections.Counter(it["reason"] for it in json.loads(events)["items"]).most_common():
    print(count, reason)
