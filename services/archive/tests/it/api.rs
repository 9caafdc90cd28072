//! The archive over HTTP, and its description.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use epicenter_archive::ask::{Filter, Group, routes};
use epicenter_runtime::{Access, QuerySection, TokenConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ask::{open, site};
use crate::log::Site;

const MIB: usize = 1024 * 1024;

struct Server {
    site: Site,
    address: SocketAddr,
}

impl Server {
    fn new() -> Self {
        Self::over(site(), QuerySection::default())
    }

    fn over(site: Site, limits: QuerySection) -> Self {
        Self::to(site, limits, Access::whole())
    }

    fn to(site: Site, limits: QuerySection, access: Access) -> Self {
        let router = routes(Arc::new(open(&site, limits))).layer(Extension(access));
        let address = site.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        Self { site, address }
    }

    /// The status, the head and the body of an answer to a request without a length.
    fn send(&self, head: &str, body: &[u8]) -> (u16, String, String) {
        self.site.runtime.block_on(async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut from, mut to) = stream.into_split();
            let request = format!("{head} HTTP/1.0\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
            // Who is refused may not read it all.
            let _: std::io::Result<()> = async {
                to.write_all(request.as_bytes()).await?;
                to.write_all(body).await
            }
            .await;
            let mut answer = Vec::new();
            let _: std::io::Result<usize> = from.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
            (status, head.to_owned(), body.to_owned())
        })
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send(&format!("GET /api/v1{path}"), b"");
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn sql(&self, query: &str) -> (u16, Vec<Value>) {
        let (status, _, body) = self.send("POST /api/v1/sql", query.as_bytes());
        (status, body.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

#[test]
fn answers_what_is_asked() {
    let server = Server::new();
    let span = "from=2026-11-20&to=2026-11-27";
    let (status, page) = server.get(&format!("/events?{span}&cluster=a&severity=critical,high&limit=5"));
    assert_eq!((status, page["rows"].as_array().unwrap().len()), (200, 5));
    let next = page["next"].as_str().unwrap();
    let (_, page) = server.get(&format!("/events?{span}&cluster=a&severity=critical&severity=high&cursor={next}"));
    assert_eq!((page["rows"].as_array().unwrap().len(), &page["next"]), (7, &Value::Null));
    assert_eq!(page["rows"][6]["record"]["event"]["uid"], "uid-0");
    let (_, page) = server.get(&format!("/incidents?{span}&text=EPC-B"));
    assert_eq!(page["rows"][0]["incident"], "epc-bbbbbbbbbb");
    let (_, groups) = server.get(&format!("/aggregate?{span}&by=cluster&every=1d&limit=2"));
    assert_eq!((&groups["rows"][0]["cluster"], &groups["rows"][0]["events"]), (&json!("a"), &json!(20)));
    let (_, groups) = server.get(&format!("/aggregate?{span}&of=incidents"));
    assert_eq!(groups["rows"][0]["incidents"], 3);
    let (status, rows) = server.sql("SELECT name FROM events WHERE \"cluster\" = 'a' ORDER BY time LIMIT 2");
    assert_eq!((status, rows), (200, vec![json!({"name": "web-0"}), json!({"name": "web-1"})]));
    let (status, head, body) = server.send("POST /api/v1/sql", b"SELECT name FROM events WHERE FALSE");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
}

#[test]
fn a_token_shows_its_clusters_and_namespaces_and_nothing_else() {
    let span = "from=2026-11-20&to=2026-11-27";
    let token = |clusters: &str, namespaces: &str| {
        let names = |name: &str| vec![name.to_owned()];
        let token = TokenConfig { clusters: names(clusters), namespaces: names(namespaces), ..TokenConfig::default() };
        Server::to(site(), QuerySection::default(), Access::of(&token))
    };
    let count = |server: &Server, path: &str| {
        let (status, answer) = server.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer["rows"].as_array().unwrap().len()
    };
    for (clusters, namespaces, events, incidents) in [
        ("*", "sho*", 120, 3),
        ("a", "shop", 60, 3),
        ("b*", "*", 60, 0),
        ("a", "bank", 0, 0),
        ("a", "shop' OR TRUE --", 0, 0),
    ] {
        let server = token(clusters, namespaces);
        assert_eq!(count(&server, &format!("/events?{span}&limit=1000")), events, "{clusters} {namespaces}");
        assert_eq!(count(&server, &format!("/incidents?{span}")), incidents, "{clusters} {namespaces}");
        // What is asked for takes nothing away from that.
        let asked = format!("/events?{span}&limit=1000&cluster=a,b&namespace=shop");
        assert_eq!(count(&server, &asked), events, "{clusters} {namespaces}");
        let (_, sums) = server.get(&format!("/aggregate?{span}"));
        assert_eq!(sums["rows"][0]["events"], events, "{clusters} {namespaces}");
        let (status, said) = server.sql("SELECT * FROM events");
        assert_eq!(status, 403, "{said:?}");
    }
    let server = token("a", "shop");
    let (_, page) = server.get(&format!("/incidents?{span}&incident=epc-a"));
    assert_eq!(page["rows"][0]["record"]["incident"]["id"], "epc-aaaaaaaaaa");
}

#[test]
fn says_what_it_does_not_answer() {
    let server = Server::new();
    for (path, error) in [
        ("/events?severity=bad", "severity: `bad` is none of info, low, medium, high, critical"),
        ("/events?nonesuch=1", "nonesuch: `1` is not asked for by this name: see /api/v1/openapi.json"),
        ("/events?limit=0", "limit: `0` is no number from 1 to 10000"),
        ("/events?limit=10001", "limit: `10001` is no number from 1 to 10000"),
        ("/events?cursor=1.2.3)%20OR%20(TRUE", "cursor: `1.2.3) OR (TRUE` is none"),
        ("/incidents?from=%0d%0aset-cookie:%20a=b", "time: `\r\nset-cookie: a=b` is no time"),
        ("/aggregate?by=name;DROP%20TABLE%20events", "by: `name;DROP TABLE events` is none of cluster,"),
        ("/aggregate?of=incidents&by=node", "by: `node` is no column of incidents"),
        ("/aggregate?every=0s", "every: `0s` is no stretch of time"),
    ] {
        let (status, head, body) = server.send(&format!("GET /api/v1{path}"), b"");
        assert_eq!(status, 400, "{path}: {body}");
        assert!(!head.contains("cookie"), "{head}");
        let said: Value = serde_json::from_str(&body).unwrap();
        assert!(said["error"].as_str().unwrap().starts_with(error), "{path}: {body}");
    }
    for path in ["/events/../../../etc/passwd", "/../livez", "/sql", "/%2e%2e/%2e%2e/etc/passwd"] {
        let (status, ..) = server.send(&format!("GET /api/v1{path}"), b"");
        assert!([404, 405].contains(&status), "{path}: {status}");
    }
    let (status, rows) = server.sql("DROP TABLE events");
    assert_eq!(status, 400, "{rows:?}");
    let (status, ..) = server.send("POST /api/v1/sql", &vec![b' '; 100 * MIB]);
    assert!([413, 0].contains(&status), "{status}: it is refused, or hung up on");
    // Whatever was asked before.
    assert_eq!(server.sql("SELECT count(*) AS n FROM events"), (200, vec![json!({"n": 120})]));
    let empty = Server::over(Site::new(), QuerySection::default());
    assert_eq!(empty.get("/events").0, 404);
}

/// What ends a stream of rows is told in its last line.
#[test]
fn rows_that_end_too_early_say_so() {
    let server = Server::over(site(), QuerySection { seconds: 2, ..QuerySection::default() });
    let endless = "SELECT CAST(count(*) AS VARCHAR) FROM events a, events b, events c, events d, events e, events f";
    let query = format!("SELECT uid FROM events UNION ALL {endless} WHERE a.name < b.name");
    let (status, _, body) = server.send("POST /api/v1/sql", query.as_bytes());
    assert_eq!(status, 200);
    assert!(body.starts_with("{\"uid\":\"pod-uid-"), "{}", body.lines().next().unwrap());
    let last: Value = serde_json::from_str(body.lines().last().unwrap()).unwrap();
    assert!(last["error"].as_str().unwrap().starts_with("there is no answer within 2 s"), "{last}");
}

#[test]
fn the_description_is_of_what_there_is() {
    let server = Server::new();
    let (status, document) = server.get("/openapi.json");
    assert_eq!((status, document["openapi"].as_str().unwrap()), (200, "3.1.0"));
    let described = |path: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let resolved = parameters.iter().map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => &document["components"]["parameters"][reference.rsplit('/').next().unwrap()],
            None => parameter,
        });
        resolved.collect::<Vec<_>>()
    };
    for (path, own) in [
        ("/events", &["limit", "cursor"][..]),
        ("/incidents", &["limit", "cursor"]),
        ("/aggregate", &["limit", "of", "by", "every"]),
    ] {
        let named: Vec<_> = described(path).iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(named, [&Filter::KEYS[..], own].concat(), "{path}");
        // Each is taken as it is described.
        for parameter in described(path) {
            let schema = &parameter["schema"];
            let schema = if schema["items"].is_object() { &schema["items"] } else { schema };
            let values = match (&schema["enum"], &parameter["name"]) {
                (Value::Array(values), _) => values.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
                (_, name) if name == "cursor" => vec!["1.2.3".to_owned()],
                (_, name) if name == "limit" => vec!["1".to_owned(), "10000".to_owned()],
                (_, name) if name == "every" || name == "from" || name == "to" => vec!["1h".to_owned()],
                _ => vec!["node".to_owned()],
            };
            for value in values {
                let path = format!("{path}?{}={value}", parameter["name"].as_str().unwrap());
                let (status, answer) = server.get(&path);
                let unfit = answer["error"].as_str().is_some_and(|error| {
                    ["is no column of Events", "is asked of incidents, which have none"]
                        .iter()
                        .any(|unfit| error.contains(unfit))
                });
                assert!(status == 200 || unfit, "{path}: {answer}");
            }
        }
    }
    let by = described("/aggregate").into_iter().find(|parameter| parameter["name"] == "by").unwrap();
    assert_eq!(by["schema"]["items"]["enum"], json!(Group::ALL.map(Group::name)));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let (status, ..) = server.send(&format!("{} /api/v1{path}", method.to_uppercase()), b"SELECT 1");
            assert_eq!(status, 200, "{method} {path}");
        }
    }
}
