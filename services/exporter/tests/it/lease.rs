//! Several exporters of one cluster.

use epicenter_exporter::{Claims, Health, client, run};
use tokio_util::sync::CancellationToken;

use crate::fake::{Answer, Fake, LISTED, Site, event, first, sent};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_reads_until_it_releases_the_lease() {
    let fake = Fake::start(first).await;
    let mut site = Site::new(fake.clone(), &[]);
    site.config.lease.enabled = true;
    site.config.lease.duration_s = 3;
    site.start();
    site.expect(&LISTED).await;
    let holder = fake.holder().unwrap();

    let (health, stop) = (Health::new("c", Default::default(), Default::default()), CancellationToken::new());
    let client = client(fake.kube_config()).unwrap();
    let second =
        tokio::spawn(run(site.config.clone(), client, site.log(), Claims::default(), health.clone(), stop.clone()));
    // Longer than the Lease lasts: it is renewed.
    let beats = site.heartbeats();
    site.until("four seconds of heartbeats", |site| site.heartbeats() > beats + 200).await;
    assert_eq!(fake.holder().as_ref(), Some(&holder));
    assert_eq!((site.health.snapshot().restarts, health.snapshot().records), (0, 0));
    assert!(site.shows("epicenter_exporter_leader{cluster=\"c\"} 1"));

    fake.answer(|ask| match ask.verb {
        "watch" => Answer::Open(vec![sent("ADDED", &event("d", 11))]),
        _ => first(ask),
    });
    site.stop().await;
    site.expect(&[LISTED.as_slice(), &["event d@11 epoch 0"]].concat()).await;
    assert_ne!(fake.holder(), Some(holder));
    assert_eq!(health.snapshot().records, 1);
    stop.cancel();
    second.await.unwrap().unwrap();
    assert_eq!(fake.holder(), None);
}
