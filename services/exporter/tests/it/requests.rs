//! How the API server is asked.

use std::time::Instant;

use crate::fake::{Answer, Fake, LISTED, Site, event, first, installed, list, refused, sent, status};

/// Two answers that ask to be left alone for a second delay by that, and cost no more than they must.
async fn check_busy(verb: &'static str, lists: usize) {
    let fake = Fake::start(move |ask| {
        let second_page = ask.verb != "list" || ask.token() == "two";
        // Of a list: the first page has come, so that the second request is for the second.
        let busy = ask.verb == verb && second_page && (if verb == "list" { ask.nth == 1 } else { ask.nth == 0 });
        if busy { Answer::Busy(1) } else { first(ask) }
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    let began = Instant::now();
    site.start();
    site.expect(&LISTED).await;
    site.until("a watch", |site| site.health.is_healthy()).await;
    assert!(began.elapsed().as_millis() >= 1_000, "{:?}", began.elapsed());
    assert_eq!(fake.asked("list").len(), lists);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_a_busy_api_server_alone_and_goes_on_with_the_page() {
    check_busy("list", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_a_busy_api_server_alone_before_it_watches() {
    check_busy("watch", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_no_more_often_than_it_may() {
    const EVENTS: u64 = 60;
    let fake = Fake::start(|ask| {
        let from: u64 = ask.token().parse().unwrap_or(0);
        match ask.verb {
            "list" if from + 2 < EVENTS => {
                list(EVENTS, &(from + 2).to_string(), &[event(&format!("e{from:03}"), from + 1)])
            }
            "list" => list(EVENTS, "", &[]),
            _ => Answer::Open(Vec::new()),
        }
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    (site.config.requests_per_second, site.config.request_burst) = (50, 5);
    let began = Instant::now();
    site.start();
    site.until("the whole list", |site| site.health.is_healthy()).await;
    // 32 requests, five of them at once: 27 at 50 per second.
    assert!(began.elapsed().as_millis() >= 500, "{:?}", began.elapsed());
    assert!(site.metrics.text().contains("epicenter_api_limit_wait_seconds_total{cluster=\"c\"} 0."));
    site.stop().await;
}

/// While a watch is open and silent, the position is no longer of the cluster's history.
#[tokio::test(flavor = "multi_thread")]
async fn notices_a_restore_under_an_open_watch() {
    let fake = Fake::start(first).await;
    let mut site = installed(&fake).await;
    fake.answer(first);
    site.config.watch_check_ms = 50;
    site.start();
    site.until("checks", |site| site.fake.asked("check").len() > 3).await;
    assert_eq!(site.fake.asked("watch").len(), 1, "a check that is well leaves the watch alone");
    fake.answer(|ask| match (ask.verb, ask.version()) {
        ("check", "10") => refused(504, "Timeout", "ResourceVersionTooLarge"),
        ("list", _) => list(6, "", &[event("a", 3)]),
        _ => first(ask),
    });
    let told = ["event a@3 epoch 1 backfill", "gap events 10 to 6: restored"];
    site.expect(&[LISTED.as_slice(), &told].concat()).await;
    assert!(site.shows("epicenter_watch_restarts_total{cluster=\"c\",reason=\"restored\"} 1"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_api_server_is_not_well_is_not_well() {
    let fake = Fake::start(first).await;
    let mut site = installed(&fake).await;
    site.config.watch_check_ms = 50;
    site.start();
    site.until("it is up", |site| site.shows("epicenter_cluster_up{cluster=\"c\"} 1")).await;
    fake.answer(|ask| match ask.verb {
        "check" => refused(500, "InternalError", ""),
        _ => first(ask),
    });
    site.until("it is down", |site| site.shows("epicenter_cluster_up{cluster=\"c\"} 0")).await;
    assert!(!site.parts.is_ready());
    fake.answer(|ask| match ask.verb {
        "watch" => Answer::Open(vec![sent("ADDED", &event("d", 11))]),
        _ => first(ask),
    });
    site.expect(&[LISTED.as_slice(), &["event d@11 epoch 0"]].concat()).await;
    site.until("it is up", |site| site.shows("epicenter_cluster_up{cluster=\"c\"} 1")).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_asks_for_patience_in_a_stream_is_heeded() {
    let fake = Fake::start(|ask| match (ask.verb, ask.nth) {
        ("watch", 0) => Answer::Open(vec![sent(
            "ERROR",
            &status(429, "TooManyRequests", "").replace("causes", "retryAfterSeconds\":1,\"causes"),
        )]),
        _ => first(ask),
    })
    .await;
    let mut site = Site::new(fake.clone(), &[]);
    let began = Instant::now();
    site.start();
    site.until("the second watch", |_| fake.asked("watch").len() == 2).await;
    assert!(began.elapsed().as_millis() >= 1_000);
    site.stop().await;
}
