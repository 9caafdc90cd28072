//! What people see: on a desk and on a phone, in light and in dark, with scripts and without, while things happen.
//!
//! `EPICENTER_SCREENSHOTS` names a directory for the pictures.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use epicenter_bus::topics::INCIDENTS;
use epicenter_console::ConsoleConfig;
use epicenter_model::{Codec, Incident};
use epicenter_runtime::Secret;
use epicenter_tests::browser::{Browser, Screen};
use epicenter_tests::http;

use crate::scene::Scene;

const LIMIT: Duration = Duration::from_secs(90);
const DESK: Screen = Screen { width: 1280, height: 900, dark: false, mobile: false };
const PHONE: Screen = Screen { width: 390, height: 844, dark: false, mobile: true };
const ROWS: &str = "document.querySelectorAll('table.incidents tbody tr').length";

/// In the middle of it: some incidents are open, others are over.
const MIDST: &str = "2026-11-23T11:14:20Z";
/// A little later: there is more.
const LATER: &str = "2026-11-23T11:16:00Z";

fn incidents(scene: &Scene) -> Vec<Incident> {
    let table = scene.bus.table(INCIDENTS.name).unwrap();
    table.values().map(|document| Codec::single_object().decode(document).unwrap()).collect()
}

/// The incident with the largest tree of causes.
fn largest(scene: &Scene) -> Incident {
    incidents(scene).into_iter().max_by_key(|incident| (incident.members.len(), incident.id.clone())).unwrap()
}

/// Until a report is made of what happened, where there is an archive; else the page says how to have one.
fn until_archived(scene: &Scene) {
    let deadline = Instant::now() + LIMIT;
    let wanted = if cfg!(feature = "archive") { "Noisiest workloads" } else { "There is no archive here" };
    loop {
        let (_, text) = http::get(scene.address.port(), "/reports").unwrap();
        let is_empty = text.contains("<dt>incidents</dt><dd>0</dd>") || text.contains("<dt>Events</dt><dd>0</dd>");
        if text.contains(wanted) && !is_empty {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// In the midst of what happens, with the incidents in a browser.
fn begun() -> (Scene, Browser) {
    let mut scene = Scene::start(&ConsoleConfig::default());
    scene.until(MIDST);
    let mut browser = Browser::start().unwrap();
    browser.look(DESK).unwrap();
    browser.open(&scene.at("/")).unwrap();
    browser.until(&format!("{ROWS} >= 5")).unwrap();
    (scene, browser)
}

#[test]
fn every_page_is_shown_without_complaints_on_every_screen() {
    let (scene, mut browser) = begun();
    until_archived(&scene);
    let pictures = std::env::var_os("EPICENTER_SCREENSHOTS").map(PathBuf::from);
    let incident = format!("/incidents/{}", largest(&scene).id);
    let pages = [
        ("incidents", "/"),
        ("ended", "/?state=ended&category=config"),
        ("incident", &incident),
        ("events", "/search?text=back-off"),
        ("reports", "/reports?from=30d"),
        ("silences", "/silences"),
        ("clusters", "/clusters"),
        ("nowhere", "/incidents/epc-none"),
    ];
    for (name, page) in pages {
        for screen in [DESK, PHONE] {
            for dark in [false, true] {
                browser.look(Screen { dark, ..screen }).unwrap();
                browser.open(&scene.at(page)).unwrap();
                let wide = browser.eval("document.documentElement.scrollWidth").unwrap().as_u64().unwrap();
                assert!(wide <= u64::from(screen.width), "{page} is {wide} px wide on {screen:?}");
                assert_eq!(browser.eval("document.querySelectorAll('main h1').length").unwrap(), 1, "{page}");
                let is_well = "document.querySelector('table.clusters .state.well') != null";
                assert!(name != "clusters" || browser.eval(is_well).unwrap() == true, "the cluster is heard of");
                let picture = browser.screenshot().unwrap();
                assert!(picture.len() > 5_000, "{page}: nothing is to be seen");
                if let Some(directory) = &pictures {
                    let (on, scheme) =
                        (if screen.mobile { "phone" } else { "desk" }, if dark { "dark" } else { "light" });
                    std::fs::write(directory.join(format!("{name}-{on}-{scheme}.png")), picture).unwrap();
                }
            }
        }
        let complaints: Vec<_> =
            browser.complaints().into_iter().filter(|it| name != "nowhere" || !it.contains("404")).collect();
        assert!(complaints.is_empty(), "{page}: {complaints:#?}");
    }
}

#[test]
fn pages_follow_what_happens_and_what_is_said_is_carried_out() {
    let (mut scene, mut browser) = begun();
    browser.until("document.getElementById('live').textContent == 'live'").unwrap();
    let passing = "document.getElementById('list').innerText.includes('Node n2 is not ready')";
    browser.until(passing).unwrap();
    // What is marked here is gone when the page is loaded anew.
    browser.eval("window.marked = true").unwrap();
    scene.until(LATER);
    browser.until(&format!("!{passing}")).unwrap();
    assert_eq!(browser.eval("window.marked").unwrap(), true, "it was not loaded anew");

    // Somebody acknowledges one that goes on for long.
    let lasting =
        "[...document.querySelectorAll('table.incidents a.title')].find(it => it.textContent.includes('fast-ssd'))";
    browser.eval(&format!("{lasting}.click()")).unwrap();
    browser.loaded().unwrap();
    let fill = "document.querySelector('[name=by]').value = 'anna'; \
                document.querySelector('[name=why]').value = '<b>the tag</b> is wrong'; \
                document.querySelector('button[value=acknowledge]').click()";
    browser.eval(fill).unwrap();
    browser.loaded().unwrap();
    browser.until("document.getElementById('notes').innerText.includes('anna looks after it')").unwrap();
    browser.until("document.getElementById('notes').innerText.includes('<b>the tag</b> is wrong')").unwrap();
    assert_eq!(browser.eval("document.querySelector('[name=by]').value").unwrap(), "anna", "a name is remembered");
    let id = browser.eval("location.pathname.split('/').pop()").unwrap();
    let of = |incident: &Incident| incident.id == id.as_str().unwrap();
    let said = incidents(&scene).into_iter().find(of).unwrap().acknowledged.unwrap();
    assert_eq!((said.by.as_str(), said.text.as_str()), ("anna", "<b>the tag</b> is wrong"));

    // And silences it.
    browser.eval("document.querySelector('button[value=silence]').click()").unwrap();
    browser.loaded().unwrap();
    browser.until("document.querySelector('.state.silent') != null").unwrap();
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");

    // Without scripts the same is there, and forms work.
    browser.scripts(false).unwrap();
    let (_, text) = http::get(scene.address.port(), "/").unwrap();
    assert!(text.contains("<table class=\"incidents\">"), "{text}");
    browser.open(&scene.at("/")).unwrap();
    assert!(browser.screenshot().unwrap().len() > 5_000);
}

/// Asks for a page until it says `wanted`.
#[cfg(feature = "archive")]
fn until_said(scene: &Scene, path: &str, wanted: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, text) = http::get(scene.address.port(), path).unwrap();
        if text.contains(wanted) {
            return text;
        }
        assert!(Instant::now() < deadline, "{path} does not say {wanted}: {text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(feature = "archive")]
#[test]
fn what_only_the_archive_has_is_shown_whole() {
    let mut scene = Scene::start(&ConsoleConfig::default());
    scene.until(LATER);
    until_archived(&scene);
    let incident = largest(&scene);
    let (page, past) = (format!("/incidents/{}", incident.id), format!("/incidents/{}/past", incident.id));
    let before = until_said(&scene, &page, "Acknowledge");
    let mut browser = Browser::start().unwrap();
    browser.open(&scene.at(&page)).unwrap();
    browser.until("document.querySelector('#past[data-loaded]') != null").unwrap();
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    scene.forget(&incident);
    let after = until_said(&scene, &page, "Only the archive has it");
    let count = |page: &str, what: &str| page.matches(what).count();
    for what in ["<rect class=\"card\"", "<path class=\"link\"", "<span class=\"role ", "<text class=\"name\""] {
        let (was, is) = (count(&before, what), count(&after, what));
        assert!(was > 0 && is >= was, "{what}: {was} before, {is} now: {after}");
    }
    // Its Events tell the times, and what they said.
    assert!(count(&after, "<div class=\"message\">") >= count(&before, "<div class=\"message\">"), "{after}");
    assert!(!after.contains("since its Events cannot be read"), "{after}");
    until_said(&scene, &past, "Its like in the archive");

    let found =
        until_said(&scene, "/search?text=back-off", "Searched: the archive and what the log has since then, as one");
    assert!(count(&found, "<td class=\"when\">") > 0 && found.contains("Follow the newest"), "{found}");
    let its = until_said(&scene, &format!("/search?incident={}", incident.id), "Of the incident");
    assert!(count(&its, "<td class=\"when\">") > 0, "{its}");
    let newest =
        until_said(&scene, "/search?where=newest", "Searched: the newest Events, which are held in memory, since");
    assert!(count(&newest, "<td class=\"when\">") > 0, "{newest}");
}

#[test]
fn a_login_holds_for_links_from_elsewhere_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a secret").unwrap();
    let token = Secret { file: Some(file), env: None };
    let mut scene = Scene::start(&ConsoleConfig { token, ..ConsoleConfig::default() });
    scene.until(MIDST);
    let mut browser = Browser::start().unwrap();
    let alert = format!("data:text/html,<a href='{}'>an alert</a>", scene.at("/silences"));
    let follow = |browser: &mut Browser| {
        browser.open(&alert).unwrap();
        browser.eval("document.querySelector('a').click()").unwrap();
        // The page that asks for the same from here, and then what that leads to.
        browser.loaded().unwrap();
        browser.loaded().unwrap();
    };
    follow(&mut browser);
    let fill =
        "document.querySelector('[name=token]').value = 'a secret'; document.querySelector('.login button').click()";
    browser.eval(fill).unwrap();
    browser.loaded().unwrap();
    let is_there = "location.pathname == '/silences' && document.querySelector('h1')?.textContent == 'Silences'";
    browser.until(is_there).unwrap();
    follow(&mut browser);
    browser.until(is_there).unwrap();
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
