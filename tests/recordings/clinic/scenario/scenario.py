# A clinic on two nodes: sixteen faults, and changes that are no fault.
HEALTHY = "kubectl apply -f healthy.yaml"
of = lambda ns, *apps: lambda o: o["ns"] == ns and o["app"] in apps

FAULTS = [
    fault("missing-key", 45, 160, "ConfigMap/clinic/intake-config", "ConfigMap has no key QUEUE; added at the end", of("clinic", "intake"),
          accept=["Deployment/clinic/intake"], finish="""kubectl -n clinic patch configmap intake-config -p '{"data":{"QUEUE":"new"}}'"""),
    fault("no-command", 52, 210, "StatefulSet/clinic/imaging", "the image has no /opt/viewer/run", of("clinic", "imaging")),
    fault("init-fails", 60, 250, "Deployment/lab/analyzer", "init container exits with 4", of("lab", "analyzer")),
    fault("limit-range", 112, 235, "LimitRange/billing/bounds", "LimitRange allows 64 MiB, the pods have 256 MiB", of("billing", "statements"),
          accept=["Deployment/billing/statements"]),
    fault("pod-security", 121, 265, "DaemonSet/secure/scanner", "privileged pods in a namespace that enforces `restricted`", of("secure", "scanner"),
          accept=["Namespace//secure"]),
    fault("job-deadline", 163, 310, "Job/lab/reindex", "runs longer than its deadline of 25 s", of("lab", "reindex")),
    fault("cron-bad-image", 172, 335, "CronJob/lab/export", "image tag is not in the registry", of("lab", "export")),
    fault("host-port", 204, 300, "Deployment/clinic/edge", "three pods want one host port of two nodes", of("clinic", "edge")),
    fault("startup-probe", 240, 400, "Deployment/clinic/charts", "startup probe never succeeds", of("clinic", "charts")),
    fault("node-selector", 248, 340, "Deployment/lab/folding", "no node has the label accelerator=h100", of("lab", "folding")),
    fault("runtime-down", 350, 445, "Node//n2", "containerd of n2 stopped; started again at the end",
          lambda o: (o["kind"] == "Node" and o["name"] == "n2") or (o["kind"] == "Pod" and o["node"] == "n2"),
          begin="node.sh n2 containerd-stop", finish="node.sh n2 containerd-start"),
    fault("preemption", 560, 630, "Deployment/clinic/triage", "pods of priority class `urgent` displace others, which no longer fit",
          lambda o: of("clinic", "triage")(o) or of("lab", "batchers")(o), accept=["PriorityClass//urgent"]),
    fault("ephemeral-storage", 575, 680, "Pod/lab/scratch", "writes 90 MiB with a limit of 40 MiB", of("lab", "scratch")),
    fault("webhook-down", 645, 760, "ValidatingWebhookConfiguration//policy-gate", "nothing listens where the webhook is called, and its policy is Fail",
          of("billing", "ledger", "refunds"), accept=["Webhook//*"]),
    fault("liveness", 655, None, "StatefulSet/lab/sampler", "liveness probe gets 404 from 20 s after each start", of("lab", "sampler")),
    fault("no-volume", 690, None, "PersistentVolumeClaim/clinic/data-archive-0", "no storage class, and no volume", of("clinic", "archive"),
          accept=["StatefulSet/clinic/archive"]),
]
QUIET = [
    quiet("rollout", 92, "kubectl -n clinic set image deployment/frontdesk http=registry.test/app:1.1"),
    quiet("scale-up", 272, "kubectl -n clinic scale deployment/frontdesk --replicas=4"),
    quiet("scale-down", 312, "kubectl -n clinic scale deployment/frontdesk --replicas=2"),
    quiet("drain", 490, "kubectl drain n1 --ignore-daemonsets --delete-emptydir-data --force --timeout=45s"),
    quiet("uncordon", 540, "kubectl uncordon n1"),
    quiet("restart", 610, "kubectl -n clinic rollout restart statefulset/records daemonset/agent"),
    quiet("teardown", 720, "kubectl delete namespace trial --wait=false"),
]
LENGTH = 800
