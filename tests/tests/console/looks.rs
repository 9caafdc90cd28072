//! What people see: on a desk and on a phone, in light and in dark, with scripts and without, while things happen.
//!
//! `EPICENTER_SCREENSHOTS` names a directory for the pictures.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use epicenter_bus::topics::INCIDENTS;
use epicenter_console::ConsoleConfig;
use epicenter_model::{Codec, Incident};
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
