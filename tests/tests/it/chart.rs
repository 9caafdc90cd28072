//! The Helm chart: linted, checked against the schemas of the API server, and taken by it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use epicenter_tests::chart::{self, NAMESPACE};
use epicenter_tests::kube::{ControlPlane, Options};
use epicenter_tests::{cache, process};
use serde_json::{Map, Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const BOOTSTRAP: &str = "kafka.bootstrap=broker-1:9093\\,broker-2:9093";

const REGISTRY: &str = "registry.url=https://registry:8081";

const RULES: &str = "rules.mine\\.yaml=events: []";

const ALERTS: &str = "alerts.file=receivers: [{name: screen\\, stdout: {}}]";

const CONSOLE: &str = "console.enabled=true,console.token.secretName=console,console.token.key=token";

/// A password for two services and the Job, and a certificate for another.
const USERS: &str = "kafka.properties.security\\.protocol=SASL_SSL,kafka.properties.sasl\\.mechanism=SCRAM-SHA-512,\
     kafka.secrets.ssl\\.ca\\.pem.secretName=kafka,kafka.secrets.ssl\\.ca\\.pem.key=ca.crt,\
     exporter.kafka.properties.sasl\\.username=epicenter-exporter,\
     exporter.kafka.secrets.sasl\\.password.secretName=users,exporter.kafka.secrets.sasl\\.password.key=exporter,\
     topics.kafka.properties.sasl\\.username=epicenter-topics,\
     topics.kafka.secrets.sasl\\.password.secretName=users,topics.kafka.secrets.sasl\\.password.key=topics,\
     fleet.kafka.properties.security\\.protocol=SSL,\
     fleet.kafka.secrets.ssl\\.certificate\\.pem.secretName=fleet,fleet.kafka.secrets.ssl\\.certificate\\.pem.key=tls.crt,\
     fleet.kafka.secrets.ssl\\.key\\.pem.secretName=fleet,fleet.kafka.secrets.ssl\\.key\\.pem.key=tls.key";

/// An identity provider for another one.
const PROVIDER: &str = "sink.kafka.properties.sasl\\.mechanism=OAUTHBEARER,\
     sink.kafka.tokenEndpoint.url=https://id.example.com:8443/token,sink.kafka.tokenEndpoint.clientId=epicenter-sink,\
     sink.kafka.tokenEndpoint.clientSecret.secretName=id,sink.kafka.tokenEndpoint.clientSecret.key=sink";

/// What an installation may look like.
const INSTALLATIONS: [&[&str]; 8] = [
    &[BOOTSTRAP, "cluster=prod-eu-1"],
    &[BOOTSTRAP, "exporter.enabled=false", "sink.role=central", "sink.replicas=3"],
    &[
        BOOTSTRAP,
        "cluster=member-1",
        "enricher.enabled=false",
        "correlator.enabled=false",
        "fleet.enabled=false",
        "sink.role=member",
        "kafka.properties.sasl\\.mechanism=OAUTHBEARER",
        "kafka.token.audience=kafka",
    ],
    &[
        BOOTSTRAP,
        "cluster=prod-eu-1",
        "log=warn",
        "kafka.properties.security\\.protocol=SASL_SSL",
        "kafka.secrets.sasl\\.password.secretName=kafka",
        "kafka.secrets.sasl\\.password.key=password",
        "admin.token.secretName=epicenter",
        "admin.token.key=token",
        "admin.tokens[0].name=shop,admin.tokens[0].secretName=teams,admin.tokens[0].key=shop",
        "admin.tokens[0].namespaces={shop,shop-*},admin.tokens[0].write=true",
        "exporter.kubeconfig.secretName=prod-eu-1",
        "exporter.kubeconfig.key=kubeconfig",
        "config.exporter.heartbeat_ms=2000",
        RULES,
        "enricher.podLabels.team=platform",
        "enricher.extraEnv[0].name=HTTPS_PROXY,enricher.extraEnv[0].value=http://proxy:3128",
        "networkPolicy.scrapers[0].namespaceSelector.matchLabels.name=monitoring",
        "grafanaDashboard.enabled=true",
        ALERTS,
        "intake.enabled=true",
        "networkPolicy.senders[0].namespaceSelector.matchLabels.name=shop",
        "alerts.secretName=receivers",
        "imagePullSecrets[0].name=registry",
        "defaults.priorityClassName=system-cluster-critical",
    ],
    &[BOOTSTRAP, "cluster=prod-eu-1", "spool.enabled=true"],
    &[
        BOOTSTRAP,
        "cluster=prod-eu-1",
        "spool.enabled=true",
        "spool.claim=epicenter-spool",
        REGISTRY,
        "registry.username=epicenter",
        "registry.password.secretName=registry,registry.password.key=password",
        "registry.ca.secretName=registry,registry.ca.key=ca.crt",
    ],
    &[
        BOOTSTRAP,
        "cluster=prod-eu-1",
        "archive.location=s3://epicenter/archive",
        "archive.s3.endpoint=https://minio:9000",
        "archive.s3.accessKeyId.secretName=minio,archive.s3.accessKeyId.key=id",
        "archive.s3.secretAccessKey.secretName=minio,archive.s3.secretAccessKey.key=key",
        "archive.retention.rules[0].severity={info,low},archive.retention.rules[0].days=3",
        CONSOLE,
        "console.hosts={console.example.com}",
        "networkPolicy.viewers[0].namespaceSelector.matchLabels.name=ingress",
    ],
    &[BOOTSTRAP, "cluster=prod-eu-1", USERS, PROVIDER],
];

fn objects(rendered: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(rendered).unwrap().into_iter().filter(|object| !object.is_null()).collect()
}

fn is(object: &Value, kind: &str) -> bool {
    object["kind"] == kind
}

/// The schemas of an API server, as kubeconform reads them: a file for each kind, and one with all definitions. No field
/// may be there that the API does not know.
fn write_schemas(plane: &ControlPlane, directory: &Path) {
    let api: Value = serde_json::from_str(&plane.kubectl(&["get", "--raw", "/openapi/v2"]).unwrap()).unwrap();
    let mut definitions = api["definitions"].as_object().unwrap().clone();
    for definition in definitions.values_mut() {
        if definition["format"] == "int-or-string" {
            *definition = json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
        } else if definition.get("properties").is_some() {
            definition["additionalProperties"] = json!(false);
        }
    }
    let kinds = "x-kubernetes-group-version-kind";
    for (name, definition) in &definitions {
        for kind in definition.get(kinds).and_then(Value::as_array).into_iter().flatten() {
            let part = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
            // kubeconform takes what stands before the slash of an apiVersion for the group: of `v1`, all of it.
            let group = Some(part("group")).filter(|group| !group.is_empty()).unwrap_or_else(|| part("version"));
            let file = format!("{}-{group}-{}.json", part("kind"), part("version"));
            let schema = json!({"$ref": format!("definitions.json#/definitions/{name}")});
            fs::write(directory.join(file), schema.to_string()).unwrap();
        }
    }
    let all = Map::from_iter([("definitions".to_owned(), Value::Object(definitions))]);
    fs::write(directory.join("definitions.json"), Value::Object(all).to_string()).unwrap();
}

fn kubeconform(schemas: &Path, rendered: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(cache::server("kubeconform")?.join("kubeconform"));
    let names = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json";
    command.args(["-strict", "-summary", "-schema-location", &format!("{}/{names}", schemas.display())]);
    process::output(command.arg(rendered), LIMIT)
}

/// A pod as its controller would make it: the policy of a namespace is enforced on pods alone.
fn pod(object: &Value) -> Value {
    let mut spec = object["spec"]["template"]["spec"].clone();
    // The admission that sets it from the class does not know the class either.
    spec["serviceAccountName"] = json!("default");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": object["metadata"]["name"]}, "spec": spec})
}

#[test]
fn an_api_server_takes_the_chart_in_a_restricted_namespace() {
    let plane = ControlPlane::start(Options::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_schemas(&plane, directory.path());
    plane
        .apply_text(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n"
        ))
        .unwrap();
    let file = directory.path().join("rendered.yaml");
    let take = |text: &str| {
        fs::write(&file, text).unwrap();
        let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--namespace", NAMESPACE, "-f"];
        plane.kubectl(&[&dry[..], &[file.to_str().unwrap()]].concat())
    };
    for values in INSTALLATIONS {
        chart::lint(values).unwrap();
        let rendered = chart::render(values).unwrap();
        let taken = take(&rendered).unwrap();
        println!("{}", kubeconform(directory.path(), &file).unwrap());
        let objects = objects(&rendered);
        assert_eq!(taken.lines().count(), objects.len(), "{taken}");
        let mut pods = 0;
        for object in objects.iter().filter(|object| is(object, "Deployment") || is(object, "Job")) {
            take(&pod(object).to_string()).unwrap();
            pods += 1;
        }
        assert!(pods >= 3, "{pods} pods of {values:?}");
    }

    // What this test would find.
    let rendered = chart::render(INSTALLATIONS[0]).unwrap();
    let wrong = rendered.replace("livenessProbe:", "livenesProbe:");
    assert!(take(&wrong).unwrap_err().to_string().contains("livenesProbe"));
    assert!(kubeconform(directory.path(), &file).unwrap_err().to_string().contains("livenesProbe"));
    let mut loose = pod(objects(&rendered).iter().find(|object| is(object, "Deployment")).unwrap());
    loose["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = take(&loose.to_string()).unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
}

#[test]
fn what_it_passes_to_the_services_is_what_they_take() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("epicenter.yaml");
    for values in INSTALLATIONS {
        let objects = objects(&chart::render(values).unwrap());
        for map in objects.iter().filter(|object| is(object, "ConfigMap")) {
            let Some(data) = map["data"].as_object().filter(|data| data.contains_key("epicenter.yaml")) else {
                continue;
            };
            for text in data.values() {
                fs::write(&file, text.as_str().unwrap()).unwrap();
                let mut check = Command::new(process::binary().unwrap());
                process::output(check.args(["config", "check", "--config"]).arg(&file), LIMIT).unwrap();
            }
        }
        for object in objects.iter().filter(|object| is(object, "Deployment") || is(object, "Job")) {
            let pod = &object["spec"]["template"]["spec"];
            let containers = ["initContainers", "containers"].map(|list| &pod[list]);
            for container in containers.iter().flat_map(|list| list.as_array().into_iter().flatten()) {
                let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
                let program = container["command"][0].as_str().unwrap_or("/epicenter").trim_start_matches('/');
                let mut command = Command::new(process::program(program).unwrap());
                process::output(command.args(arguments).arg("--help"), LIMIT).unwrap();
            }
        }
    }
}

#[test]
fn a_service_gets_no_more_than_it_needs() {
    let check = |values: &[&str], service: &str, expected: bool| {
        let objects = objects(&chart::render(values).unwrap());
        let name = format!("epicenter-{service}");
        let deployment = objects.iter().find(|it| is(it, "Deployment") && it["metadata"]["name"] == name.as_str());
        let spec = &deployment.unwrap()["spec"]["template"]["spec"];
        assert_eq!(spec["automountServiceAccountToken"], expected, "{service} with {values:?}");
        let bound = objects.iter().filter(|it| is(it, "ClusterRoleBinding"));
        let bound = bound.filter(|it| it["subjects"][0]["name"] == name.as_str()).count();
        assert_eq!(bound, usize::from(expected), "{service} with {values:?}");
        for role in objects.iter().filter(|it| is(it, "ClusterRole")) {
            let rules = role["rules"].to_string();
            assert!(!rules.contains('*') && !rules.contains("secrets"), "{rules}");
        }
    };
    let [all, central, member, remote, ..] = INSTALLATIONS;
    check(all, "exporter", true);
    check(all, "enricher", false);
    check(all, "correlator", false);
    check(all, "fleet", false);
    check(all, "sink", true);
    check(central, "sink", false);
    check(member, "sink", true);
    check(remote, "exporter", false);
}

#[test]
fn enrichers_and_correlators_get_the_same_rules_and_nobody_else_any() {
    let objects = objects(&chart::render(&[BOOTSTRAP, "cluster=a", RULES]).unwrap());
    let map = objects.iter().find(|it| is(it, "ConfigMap") && it["metadata"]["name"] == "epicenter-rules").unwrap();
    assert_eq!(map["data"], json!({"mine.yaml": "events: []"}));
    let rules_of = |service: &str| {
        let name = format!("epicenter-{service}");
        let found = objects.iter().find(|it| is(it, "Deployment") && it["metadata"]["name"] == name.as_str());
        let template = &found.unwrap()["spec"]["template"];
        let container = &template["spec"]["containers"][0];
        let of = |list: &Value, key: &str, value: &str| {
            list.as_array().and_then(|l| l.iter().find(|it| it[key] == value).cloned())
        };
        (
            of(&container["env"], "name", "EPICENTER_RULES__DIRECTORY").map(|it| it["value"].clone()),
            of(&container["volumeMounts"], "name", "rules").map(|it| it["mountPath"].clone()),
            of(&template["spec"]["volumes"], "name", "rules").map(|it| it["configMap"]["name"].clone()),
            template["metadata"]["annotations"].get("checksum/rules").cloned(),
        )
    };
    let directory = Some(json!("/etc/epicenter/rules"));
    let (variable, mount, volume, sum) = rules_of("enricher");
    assert_eq!((variable, mount, volume), (directory.clone(), directory, Some(json!("epicenter-rules"))));
    assert!(sum.is_some(), "a change of the rules must restart the pods");
    assert_eq!(rules_of("enricher"), rules_of("correlator"));
    for service in ["exporter", "sink"] {
        assert_eq!(rules_of(service), (None, None, None, None), "{service}");
    }
}

#[test]
fn each_service_can_be_a_user_of_its_own() {
    let objects = objects(&chart::render(INSTALLATIONS[7]).unwrap());
    let named =
        |kind: &str, name: &str| objects.iter().find(|it| is(it, kind) && it["metadata"]["name"] == name).unwrap();
    // What a pod reads as its configuration, and of which Secrets it has something.
    let of = |kind: &str, name: &str| {
        let pod = &named(kind, name)["spec"]["template"]["spec"];
        let found = |list: &Value, name: &str| {
            list.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
        };
        let key = found(&pod["containers"][0]["volumeMounts"], "config")["subPath"].as_str().unwrap().to_owned();
        let map = found(&pod["volumes"], "config")["configMap"]["name"].as_str().unwrap().to_owned();
        let text = named("ConfigMap", &map)["data"][&key].as_str().unwrap();
        let config: Value = serde_saphyr::from_str(text).unwrap();
        let sources = found(&pod["volumes"], "secrets")["projected"]["sources"].clone();
        let secret = |source: &Value| {
            let secret = &source["secret"];
            format!("{} {}", secret["name"].as_str().unwrap(), secret["items"][0]["path"].as_str().unwrap())
        };
        let secrets: Vec<String> = sources.as_array().unwrap().iter().map(secret).collect();
        (config["bus"]["kafka"].clone(), secrets)
    };
    let authority = "kafka kafka/ssl.ca.pem".to_owned();
    let (kafka, secrets) = of("Deployment", "epicenter-enricher");
    assert_eq!((kafka["properties"].get("sasl.username"), &secrets), (None, &vec![authority.clone()]));
    for (kind, service) in [("Deployment", "exporter"), ("Job", "topics")] {
        let (kafka, secrets) = of(kind, &format!("epicenter-{service}"));
        assert_eq!(kafka["properties"]["sasl.username"], format!("epicenter-{service}"));
        assert_eq!(kafka["secrets"]["sasl.password"]["file"], "/etc/epicenter/secrets/kafka/sasl.password");
        assert_eq!(secrets, ["users kafka/sasl.password".to_owned(), authority.clone()]);
    }
    let (kafka, secrets) = of("Deployment", "epicenter-fleet");
    assert_eq!(kafka["properties"]["security.protocol"], "SSL");
    assert_eq!(secrets.len(), 3, "{secrets:?}");
    let (kafka, secrets) = of("Deployment", "epicenter-sink");
    let endpoint = &kafka["token_endpoint"];
    assert_eq!(
        (&endpoint["client_id"], &endpoint["client_secret"]["file"]),
        (&json!("epicenter-sink"), &json!("/etc/epicenter/secrets/token-endpoint/secret"))
    );
    assert_eq!(secrets, [authority, "id token-endpoint/secret".to_owned()]);
    for policy in objects.iter().filter(|it| is(it, "NetworkPolicy")) {
        let asks = policy["metadata"]["name"] == "epicenter-sink";
        assert_eq!(policy["spec"]["egress"].to_string().contains("8443"), asks, "{policy}");
    }
}

#[test]
fn alerts_run_only_with_a_file_and_once() {
    let deployment = |values: &[&str]| {
        let objects = objects(&chart::render(values).unwrap());
        objects.into_iter().find(|it| is(it, "Deployment") && it["metadata"]["name"] == "epicenter-alerts")
    };
    assert_eq!(deployment(INSTALLATIONS[0]), None, "there is nobody to be told");
    let spec = deployment(INSTALLATIONS[3]).unwrap()["spec"].clone();
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    let pod = &spec["template"]["spec"];
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    assert_eq!(arguments[..2], [json!("alerts"), json!("run")]);
    let volumes = pod["volumes"].to_string();
    assert!(volumes.contains("epicenter-alerts") && volumes.contains("receivers"), "{volumes}");
}

#[test]
fn the_intake_is_there_when_it_is_wanted_and_hears_its_senders() {
    let of_intake = |values: &[&str]| {
        let objects = objects(&chart::render(values).unwrap());
        objects.into_iter().filter(|it| it["metadata"]["name"] == "epicenter-intake").collect::<Vec<_>>()
    };
    assert_eq!(of_intake(INSTALLATIONS[0]), Vec::<Value>::new());
    let objects = of_intake(INSTALLATIONS[3]);
    let of_kind = |kind: &str| objects.iter().find(|it| is(it, kind)).unwrap();
    assert_eq!(of_kind("Service")["spec"]["ports"][0]["port"], 80);
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["containers"][0]["args"][0], &pod["automountServiceAccountToken"]),
        (&json!("intake"), &json!(false))
    );
    let from = of_kind("NetworkPolicy")["spec"]["ingress"][0]["from"].to_string();
    assert!(from.contains("shop") && !from.contains("monitoring"), "{from}");
}

#[test]
fn the_console_is_there_when_it_is_wanted_with_its_token_and_the_archive() {
    let of_console = |values: &[&str]| {
        let objects = objects(&chart::render(values).unwrap());
        objects.into_iter().filter(|it| it["metadata"]["name"] == "epicenter-console").collect::<Vec<_>>()
    };
    assert_eq!(of_console(INSTALLATIONS[0]), Vec::<Value>::new());
    let objects = of_console(INSTALLATIONS[6]);
    let of_kind = |kind: &str| objects.iter().find(|it| is(it, kind)).unwrap();
    assert_eq!(of_kind("Service")["spec"]["ports"][0]["targetPort"], "console");
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["args"][0], "console");
    let volumes = pod["volumes"].to_string();
    assert!(volumes.contains("console/token") && volumes.contains("access-key-id"), "{volumes}");
    let policy = &of_kind("NetworkPolicy")["spec"];
    let viewers = policy["ingress"][1].to_string();
    assert!(viewers.contains("ingress") && viewers.contains("\"console\""), "{viewers}");
    assert!(policy["egress"].to_string().contains("9000"), "the archive's store: {policy}");
}

#[test]
fn each_service_has_the_image_that_it_needs() {
    let check = |values: &[&str], expected: &[(&str, &str)]| {
        let objects =
            objects(&chart::render(&[&[BOOTSTRAP, "cluster=a", "image.repository=r/e"], values].concat()).unwrap());
        for (name, image) in expected {
            let name = format!("epicenter-{name}");
            let object = objects
                .iter()
                .find(|it| (is(it, "Deployment") || is(it, "Job")) && it["metadata"]["name"] == name.as_str());
            let shown = &object.unwrap()["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(shown, image, "{name} with {values:?}");
        }
    };
    let archived = "archive.location=s3://epicenter/archive";
    check(
        &["image.tag=v7", archived, CONSOLE],
        &[
            ("topics", "r/e:v7"),
            ("sink", "r/e:v7"),
            ("exporter", "r/e:v7-exporter"),
            ("archive", "r/e:v7-archive"),
            ("console", "r/e:v7-archive"),
        ],
    );
    check(&["image.tag=v7", CONSOLE], &[("console", "r/e:v7")]);
    check(
        &["image.exporterTag=x", "image.archiveTag=y", archived],
        &[("exporter", "r/e:x"), ("archive", "r/e:y"), ("fleet", concat!("r/e:", env!("CARGO_PKG_VERSION")))],
    );
}

#[test]
fn schemas_are_registered_behind_the_topics_and_the_registry_can_be_reached() {
    let check = |values: &[&str], expected: &[&str]| {
        let objects = objects(&chart::render(&[&[BOOTSTRAP, "cluster=a"], values].concat()).unwrap());
        let job = objects.iter().find(|it| is(it, "Job"));
        let pod = job.map(|job| &job["spec"]["template"]["spec"]);
        let lists = pod.into_iter().flat_map(|pod| ["initContainers", "containers"].map(|list| &pod[list]));
        let steps = lists.flat_map(|list| list.as_array().into_iter().flatten());
        let steps: Vec<_> = steps.map(|step| step["args"][0].as_str().unwrap()).collect();
        assert_eq!(steps, expected, "{values:?}");
        let registry = values.contains(&REGISTRY);
        for policy in objects.iter().filter(|it| is(it, "NetworkPolicy")) {
            assert_eq!(policy["spec"]["egress"].to_string().contains("8081"), registry, "{policy}");
        }
        for deployment in objects.iter().filter(|it| is(it, "Deployment")) {
            let mounted = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].to_string();
            assert_eq!(mounted.contains("/var/cache/epicenter"), registry, "{mounted}");
        }
    };
    check(&[], &["topics"]);
    check(&[REGISTRY], &["topics", "schemas"]);
    check(&[REGISTRY, "topics.create=false"], &["schemas"]);
    check(&[REGISTRY, "registry.register=false"], &["topics"]);
    check(&["topics.create=false"], &[]);
}

#[test]
fn the_collector_of_traces_can_be_reached() {
    let check = |endpoint: &str, port: Option<u16>| {
        let values = [BOOTSTRAP, "cluster=a", &format!("config.traces.endpoint={endpoint}")];
        let objects = objects(&chart::render(&values).unwrap());
        for policy in objects.iter().filter(|it| is(it, "NetworkPolicy")) {
            let egress = policy["spec"]["egress"].as_array().unwrap();
            let to_it = json!({"ports": [{"port": port}]});
            assert_eq!(egress.contains(&to_it), port.is_some(), "{policy}");
        }
    };
    check("http://otel-collector:4318", Some(4318));
    check("https://otel.example.com", Some(443));
    check("", None);
}

#[test]
fn values_that_cannot_work_are_told() {
    let check = |values: &[&str], expected: &str| {
        let error = chart::render(values).unwrap_err().to_string();
        assert!(error.contains(expected), "{values:?}: {error}");
    };
    check(&["cluster=a"], "kafka.bootstrap: set the brokers");
    check(&[BOOTSTRAP], "cluster: name the cluster, such as prod-eu-1; the exporter needs it");
    check(&["kafka.bootstrap=broker", "cluster=a"], "/kafka/bootstrap");
    check(&[BOOTSTRAP, "cluster=a/b"], "/cluster");
    check(&[BOOTSTRAP, "cluster=a", "registry.url=registry:8081"], "/registry/url");
    check(&[BOOTSTRAP, "cluster=a", "rules.mine=events: []"], "invalid propertyName 'mine'");
    check(&[BOOTSTRAP, "cluster=a", "exporter.replicas=2"], "/exporter/replicas");
    check(&[BOOTSTRAP, "cluster=a", ALERTS, "alerts.replicas=2"], "/alerts/replicas");
    check(&[BOOTSTRAP, "cluster=a", "enricher.replica=2"], "replica");
    check(&[BOOTSTRAP, "cluster=a", "intake.enabled=true"], "admin.token: name the token that the intake asks for");
    check(
        &[BOOTSTRAP, "cluster=a", "console.enabled=true"],
        "console.token: name the token that browsers are asked for",
    );
    check(&[BOOTSTRAP, "cluster=a", "kafka.properties.sasl\\.password=x"], "sasl.password");
    check(&[BOOTSTRAP, "cluster=a", "kafka.secrets.sasl\\.password.secretName=x"], "/kafka/secrets");
    check(&[BOOTSTRAP, "cluster=a", "kafka.token.expirationSeconds=3600"], "/kafka/token");
    check(&[BOOTSTRAP, "cluster=a", "kafka.tokenEndpoint.url=https://id/token"], "/kafka/tokenEndpoint");
    check(&[BOOTSTRAP, "cluster=a", "enricher.kafka.bootstrap=broker:9092"], "/enricher/kafka");
    check(&[BOOTSTRAP, "cluster=a", "sink.kafka.properties.sasl\\.password=x"], "sasl.password");
    check(&[BOOTSTRAP, "cluster=a", "kafka.properties.security\\.protocol=TLS"], "security.protocol");
    check(&[BOOTSTRAP, "cluster=a", "kafka.properties.sasl\\.mechanism=SCRAM"], "sasl.mechanism");
    check(&[BOOTSTRAP, "cluster=a", "defaults.terminationGracePeriodSeconds=10"], "terminationGracePeriodSeconds");
}
