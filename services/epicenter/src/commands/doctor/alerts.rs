//! Looks at the receivers of alerts: whether they can be reached, and how far they are told.

use epicenter_alerts::{Outlook, outlook, reach};
use epicenter_bus::Bus;
use epicenter_model::Timestamp;
use epicenter_runtime::now;

use super::{BEHIND, Findings};
use crate::settings::Settings;

/// How the receivers of `bus` fare: those of the configured file, or without one those that were ever told something.
pub(super) async fn look(settings: &Settings, bus: Bus, findings: &mut Findings) -> anyhow::Result<()> {
    let alerts = match crate::alerts::configured(&settings.alerts) {
        Ok(alerts) => alerts,
        Err(error) => return findings.bad(&format!("alerts: {error}")),
    };
    let names: Option<Vec<String>> =
        alerts.as_ref().map(|alerts| alerts.receivers.iter().map(|receiver| receiver.name.clone()).collect());
    let look = move || {
        let names: Option<Vec<&str>> = names.as_ref().map(|names| names.iter().map(String::as_str).collect());
        outlook(&bus, names.as_deref())
    };
    match tokio::task::spawn_blocking(look).await? {
        Ok(outlooks) => {
            for outlook in outlooks {
                match judge(&outlook, now()) {
                    Ok(what) => findings.well(&format!("alerts: {}: {what}", outlook.receiver))?,
                    Err(what) => findings.bad(&format!("alerts: {}: {what}", outlook.receiver))?,
                }
            }
        }
        Err(error) => findings.bad(&format!("alerts: {error:#}"))?,
    }
    for receiver in alerts.iter().flat_map(|alerts| &alerts.receivers) {
        match reach(receiver).await {
            None => {}
            Some(Ok(host)) => findings.well(&format!("alerts: {}: {host} can be reached from here", receiver.name))?,
            Some(Err(why)) => findings.bad(&format!(
                "alerts: {}: it cannot be reached from here: {why}; check its URL and certificate, and what is between",
                receiver.name
            ))?,
        }
    }
    Ok(())
}

/// What of a receiver is well at `now`, or wrong.
fn judge(outlook: &Outlook, now: Timestamp) -> Result<String, String> {
    let Outlook { begun, unread, oldest, waits, told, .. } = outlook;
    let age = |at: &Timestamp| (now.as_millis() - at.as_millis()) / 1000;
    let told = told.map_or_else(
        || "no incident that goes on was told".to_owned(),
        |at| format!("the last notice of what goes on arrived at {at}"),
    );
    if !begun {
        return Err("nobody tells it: run `epicenter alerts run`, or start it again with this file".to_owned());
    }
    let behind = match oldest {
        Some(at) => format!("{unread} change(s) are before it, the oldest {} s old", age(at)),
        None => "it has heard all".to_owned(),
    };
    if let Some(at) = waits.as_ref().filter(|at| age(at) > BEHIND) {
        let mend = "see what the log and /readyz of `epicenter alerts run` say of it";
        return Err(format!("it has not taken a notice for {} s; {behind}; {mend}", age(at)));
    }
    if oldest.as_ref().is_some_and(|at| age(at) > BEHIND) {
        return Err(format!("{behind}; see that `epicenter alerts run` runs, and what its log says; {told}"));
    }
    Ok(format!("{behind}; {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_is_not_told_and_why() {
        let at = |seconds: i64| Timestamp::from_millis(1_000_000_000 + seconds * 1000);
        let well = Outlook {
            receiver: "slack".to_owned(),
            begun: true,
            unread: 0,
            oldest: None,
            waits: None,
            told: Some(at(0)),
        };
        let check = |outlook: Outlook, expected: Result<&str, &str>| {
            let found = judge(&outlook, at(100));
            assert_eq!(found.is_ok(), expected.is_ok(), "{found:?}");
            let (said, part) = (found.unwrap_or_else(|wrong| wrong), expected.unwrap_or_else(|wrong| wrong));
            assert!(said.contains(part), "{said}");
        };
        check(well.clone(), Ok("it has heard all; the last notice of what goes on arrived at 1970-01-12T13:46:40"));
        check(Outlook { told: None, ..well.clone() }, Ok("no incident that goes on was told"));
        check(Outlook { begun: false, ..well.clone() }, Err("run `epicenter alerts run`"));
        // What came a moment ago is no backlog.
        check(
            Outlook { unread: 3, oldest: Some(at(95)), ..well.clone() },
            Ok("3 change(s) are before it, the oldest 5 s"),
        );
        check(Outlook { unread: 3, oldest: Some(at(10)), ..well.clone() }, Err("the oldest 90 s old; see that"));
        let waits = Outlook { unread: 1, oldest: Some(at(99)), waits: Some(at(20)), ..well };
        check(waits, Err("not taken a notice for 80 s; 1 change(s)"));
    }
}
