use super::*;

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let problems = Alerts::read("alerts.yaml", text).map(|_| ()).unwrap_err();
    let shown: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown:#?}\nlacks {expected}");
    }
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
}

#[test]
fn reads_what_the_guide_shows() {
    let text = "\
receivers:
  - {name: am, alertmanager: {url: http://am:9093, authorization: {env: X}}}
  - {name: hook, webhook: {url: {file: /run/secrets/hook}, secret: {file: /run/secrets/key}, mode: binary}}
  - {name: chat, slack: {url: {env: SLACK}}, per_minute: 10, send_resolved: false}
  - {name: screen, stdout: {}}
rules:
  - {name: lab, when: 'incident.cluster.startsWith(\"lab-\")', mute: true}
  - {name: loud, severity: critical, receivers: [chat], group_wait: 0s, repeat_interval: 1h 30m, continue: true}
  - {name: all, receivers: [am, hook, screen]}
watchdog: {every: 2m, receivers: [am], heartbeat: https://snitch.example.com/x}
";
    let alerts = Alerts::read("alerts.yaml", text).unwrap();
    let kinds: Vec<_> = alerts.receivers.iter().map(|receiver| receiver.kind()).collect();
    assert_eq!(kinds, ["alertmanager", "webhook", "slack", "stdout"]);
    let rule = &alerts.rules.0[1];
    assert_eq!((rule.group_wait, rule.repeat_interval), (Duration::ZERO, Duration::from_secs(5400)));
    assert_eq!(alerts.rules.0[2].severity, Severity::Low);
    assert_eq!(alerts.watchdog.map(|watchdog| watchdog.every), Some(Duration::from_secs(120)));
}

#[test]
fn tells_all_that_is_wrong_at_once() {
    check(
        "receivers:\n- {name: A b, stdout: {}}\n- name: x\n  slack: {url: 'ftp://x'}\n- {name: x, stdout: {}}\n- {name: z, stdout: {}, webhook: {url: 'http://h'}}\n",
        &[
            "alerts.yaml:2: receivers[0].name: must have 1 to 40 of a-z",
            "alerts.yaml:4: receivers[1].slack.url: must be a URL such as https://host/path",
            "alerts.yaml:5: receivers[2].name: `x` is used twice",
            "alerts.yaml:6: receivers[3].name: must be exactly one of alertmanager, webhook, slack, otlp and stdout",
        ],
    );
    check(
        "receivers: [{name: x, stdout: {}}]\nrules:\n- {name: a, receivers: [z]}\n- {name: a, mute: true}\n- {name: b}\n- name: c\n  when: incident.sevrity == 'high'\n  receivers: [x]\n- {name: d, receivers: [x], group_wait: soon}\n- {name: e, receivers: [x], severity: urgent}\nroutes: 1\n",
        &[
            "alerts.yaml:3: rules[0].receivers: no receiver is called `z`",
            "alerts.yaml:4: rules[1].name: must be a name that no other rule has",
            "alerts.yaml:5: rules[2].receivers: name at least one, or say `mute: true`",
            "alerts.yaml:7: rules[3].when: an incident has no `sevrity`",
            "alerts.yaml:9: rules[4].group_wait: `soon` is no duration such as 30s, 5m or 4h",
            "alerts.yaml:10: rules[5].severity: unknown variant `urgent`",
            "alerts.yaml:11: routes: is no section of a file of alerts",
        ],
    );
    check(
        "receivers: [{name: x, stdout: {}}]\nwatchdog: {receivers: [x, z], every: 1s}\n",
        &[
            "alerts.yaml:2: watchdog.every: must be at least 10s",
            "alerts.yaml:2: watchdog.receivers: no receiver is called `z`",
            "alerts.yaml:2: watchdog.receivers: `x` is no alertmanager",
        ],
    );
    check("rules: []", &["alerts.yaml:1: receivers: there is none"]);
    check("receivers: [", &["alerts.yaml:1: this is no YAML"]);
    check("receivers: [{name: x, webhook: {url: 5}}]", &["alerts.yaml:1: receivers[0].webhook.url: a URL, or {file"]);
}
