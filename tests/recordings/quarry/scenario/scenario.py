# A quarry on three nodes: nineteen faults, and changes that are no fault.
HEALTHY = "kubectl apply -f healthy.yaml; kubectl taint node n2 dedicated=blasting:NoSchedule"
of = lambda ns, *apps: lambda o: o["ns"] == ns and o["app"] in apps
node = lambda n: lambda o: (o["kind"] == "Node" and o["name"] == n) or (o["kind"] == "Pod" and o["node"] == n)

FAULTS = [
    fault("taint", 40, 130, "Deployment/pit/blaster", "does not tolerate the taint of the only node that it may run on", of("pit", "blaster")),
    fault("pull-secret", 46, 150, "Secret/office/payroll-registry", "pull secret does not exist, and the registry wants it", of("office", "payroll"),
          accept=["Deployment/office/payroll"]),
    fault("volume-key", 62, 160, "ConfigMap/mill/sieve-config", "ConfigMap has no key grid.yaml", of("mill", "sieve"), accept=["Deployment/mill/sieve"]),
    fault("secret-key", 71, 190, "Secret/office/ledger-db", "Secret has no key password", of("office", "ledger"), accept=["StatefulSet/office/ledger"]),
    fault("as-root", 82, 200, "DaemonSet/pit/sensor", "must not run as root, and its image does", of("pit", "sensor")),
    fault("exits", 95, 230, "Deployment/mill/belt", "exits with 9 three seconds after it starts", of("mill", "belt")),
    fault("no-image", 95, 230, "Deployment/mill/sorter", "image is not in the registry; in the same second and namespace as another fault", of("mill", "sorter")),
    fault("cron-exits", 121, 300, "CronJob/office/invoice", "every run exits with 7", of("office", "invoice")),
    fault("storage-class", 152, None, "StorageClass//slow-tape", "storage class does not exist", of("pit", "cores"),
          accept=["PersistentVolumeClaim/pit/d-cores-0"]),
    fault("job-quota", 164, 290, "ResourceQuota/lease/frozen", "quota allows no pods", of("lease", "appraise"), accept=["Job/lease/appraise"]),
    fault("account", 181, 260, "ServiceAccount/pit/signaller", "ServiceAccount does not exist", of("pit", "signal"), accept=["StatefulSet/pit/signal"]),
    fault("init-image", 193, 285, "Deployment/office/mail", "image of the init container is not in the registry", of("office", "mail")),
    fault("affinity", 210, 310, "Deployment/pit/hoist", "wants to be beside pods that do not exist", of("pit", "hoist")),
    fault("exits-there", 225, 420, "Deployment/depot/pump", "exits with 1 four seconds after it starts, on the node that is lost later", of("depot", "pump")),
    fault("node-lost", 330, 425, "Node//n3", "kubelet of n3 stopped; started again at the end", node("n3"),
          begin="node.sh n3 kubelet-stop", finish="node.sh n3 kubelet-start"),
    fault("oom", 450, 560, "Deployment/mill/crusher", "a new version takes 200 MiB with a limit of 120 MiB", of("mill", "crusher"),
          begin="""kubectl -n mill patch deployment crusher --type=json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/command","value":["hog","200","1000000"]}]'""",
          finish="kubectl -n mill rollout undo deployment/crusher"),
    fault("liveness-tcp", 462, 590, "DaemonSet/depot/valve", "nothing listens on the port of the liveness probe", of("depot", "valve")),
    fault("disk", 490, 550, "Deployment/depot/archive", "writes 2.3 GiB to the 3 GB disk of n1", lambda o: of("depot", "archive")(o) or (o["node"] == "n1" and o["evicted"]) or (o["kind"], o["name"]) == ("Node", "n1"),
          accept=["Node//n1"]),
    fault("full-quota", 610, None, "ResourceQuota/yard/machines", "a rollout needs one pod more than the quota allows", of("yard", "crane"),
          begin="kubectl -n yard set image deployment/crane crane=registry.test/app:1.1", finish="true", accept=["Deployment/yard/crane"]),
]
QUIET = [
    quiet("rollout", 75, "kubectl -n office set image deployment/portal portal=registry.test/app:1.1"),
    quiet("spare-secret", 55, "kubectl apply -f spare-secret.yaml"),
    quiet("delete-pod", 140, "kubectl -n pit delete pod survey-0 --wait=false"),
    quiet("scale", 250, "kubectl -n office scale deployment/portal --replicas=6; sleep 20; kubectl -n office scale deployment/portal --replicas=3"),
    quiet("restart", 315, "kubectl -n depot rollout restart daemonset/gauge"),
    quiet("policy", 575, "kubectl apply -f policy.yaml"),  # comes into force only after the pods are made
    quiet("kubelet-restart", 600, "node.sh n1 kubelet-stop; sleep 3; node.sh n1 kubelet-start"),
    quiet("teardown", 640, "kubectl delete namespace lease --wait=false"),
]
LENGTH = 710
