//! An administrator with a token of OAUTHBEARER: rdkafka's client for administrators never asks for one (docs/adr/0037).
//!
//! Four requests of [Kafka's protocol](https://kafka.apache.org/protocol), in versions that all brokers since Kafka 2.4 speak, over
//! a connection of their own. A broker that does not lead the cluster hands them on.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use openssl::ssl::{Ssl, SslVerifyMode};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::{Settings, Wanted};
use crate::Fault;
use crate::kafka::certificate::{connect, context, expect};
use crate::kafka::{DEADLINE, KafkaConfig, Token};

/// How long the brokers may take to carry a request out.
const WORK: Duration = Duration::from_secs(20);
/// The largest answer, bytes.
const MOST: usize = 16 * 1024 * 1024;
/// A topic, among things that have settings.
const TOPIC: i8 = 2;

/// What is asked for: its number, and the version in which it is.
#[derive(Clone, Copy)]
struct Request(i16, i16);

const SASL_HANDSHAKE: Request = Request(17, 1);
const CREATE_TOPICS: Request = Request(19, 4);
const DESCRIBE_CONFIGS: Request = Request(32, 1);
const SASL_AUTHENTICATE: Request = Request(36, 1);

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A connection to one of the brokers, as whom the token names.
pub(super) struct Connection {
    broker: String,
    stream: Box<dyn Stream>,
    asked: i32,
}

impl Connection {
    /// Connects to the first broker that answers.
    pub(super) fn open(config: &KafkaConfig, token: &Token) -> Result<Self, Fault> {
        let what = || format!("connecting to Kafka at {}", config.bootstrap);
        let mut brokers = config.bootstrap.split(',').map(str::trim);
        let answering = brokers.find_map(|broker| connect(broker, DEADLINE).map(|stream| (broker, stream)));
        let (broker, stream) = answering.ok_or_else(|| Fault::retry(what(), "no broker answers"))?;
        let stream = dress(config, broker, stream).map_err(|error| Fault::retry(what(), error))?;
        let mut connection = Self { broker: broker.to_owned(), stream, asked: 0 };
        connection.authenticate(token)?;
        Ok(connection)
    }

    fn authenticate(&mut self, token: &Token) -> Result<(), Fault> {
        let refused = |why: String| {
            let mend = "Check sasl.mechanism and who issues the tokens, and that the brokers take such ones";
            Fault::fatal("showing the brokers a token", why, mend)
        };
        let mut mechanism = Vec::new();
        put_text(&mut mechanism, "OAUTHBEARER");
        let (code, ..) = self.ask(SASL_HANDSHAKE, &mechanism, |answer| {
            let code = answer.short()?;
            let offered = answer.list(Answer::text)?;
            Ok((code, offered))
        })?;
        if let Some(code) = error(code) {
            return Err(refused(code.to_string()));
        }
        // RFC 7628, 3.1.
        let shown = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.value);
        let mut request = Vec::new();
        put_size(&mut request, shown.len());
        request.put_slice(shown.as_bytes());
        let (code, said, details) =
            self.ask(SASL_AUTHENTICATE, &request, |answer| Ok((answer.short()?, answer.text()?, answer.bytes()?)))?;
        match error(code) {
            Some(code) => Err(refused(said.unwrap_or_else(|| code.to_string()))),
            // The broker's failure is what it says instead of nothing, and waits for a word more.
            None if !details.is_empty() => Err(refused(String::from_utf8_lossy(&details).into_owned())),
            None => Ok(()),
        }
    }

    /// Creates topics. What came of each: its name, and why there is no such topic of ours.
    pub(super) fn create(&mut self, wanted: &[Wanted], replication: i32) -> Result<Vec<(String, Option<Code>)>, Fault> {
        let mut request = Vec::new();
        put_list(&mut request, wanted, |out, (name, partitions, settings)| {
            put_text(out, name);
            out.put_i32(*partitions);
            out.put_i16(i16::try_from(replication).unwrap_or(i16::MAX));
            put_list(out, &[], |_, (): &()| {});
            put_list(out, settings, |out, (key, value)| {
                put_text(out, key);
                put_text(out, value);
            });
        });
        request.put_i32(i32::try_from(WORK.as_millis()).unwrap_or(i32::MAX));
        request.put_u8(0);
        self.ask(CREATE_TOPICS, &request, |answer| {
            answer.int()?;
            answer.list(|topic| {
                let (name, code, _) = (topic.name()?, topic.short()?, topic.text()?);
                Ok((name, error(code)))
            })
        })
    }

    /// The settings of topics, in their order; of each those that are named `keys`.
    pub(super) fn settings(&mut self, topics: &[&str], keys: &[&str]) -> Result<Vec<Result<Settings, Code>>, Fault> {
        let mut request = Vec::new();
        put_list(&mut request, topics, |out, topic| {
            out.put_i8(TOPIC);
            put_text(out, topic);
            put_list(out, keys, |out, key| put_text(out, key));
        });
        request.put_u8(0);
        let mut found: BTreeMap<_, _> = self.ask(DESCRIBE_CONFIGS, &request, |answer| {
            answer.int()?;
            let topics = answer.list(|topic| {
                let (code, _, _, name) = (topic.short()?, topic.text()?, topic.byte()?, topic.name()?);
                let settings = topic.list(|setting| {
                    let (key, value) = (setting.name()?, setting.text()?);
                    // Read only, its source, secret.
                    for _ in 0..3 {
                        setting.byte()?;
                    }
                    setting.list(|synonym| Ok((synonym.text()?, synonym.text()?, synonym.byte()?)))?;
                    Ok((key, value.unwrap_or_default()))
                })?;
                Ok((name, error(code).map_or_else(|| Ok(settings.into_iter().collect()), Err)))
            })?;
            Ok(topics.into_iter().collect())
        })?;
        let of = |topic: &&str| found.remove(*topic).unwrap_or(Err(Code::UnknownTopicOrPartition));
        Ok(topics.iter().map(of).collect())
    }

    fn ask<T>(
        &mut self,
        request: Request,
        body: &[u8],
        read: impl FnOnce(&mut Answer) -> io::Result<T>,
    ) -> Result<T, Fault> {
        let answer = self.exchange(request, body).and_then(|mut answer| read(&mut answer));
        answer.map_err(|error| Fault::retry(format!("asking the broker {}", self.broker), error))
    }

    fn exchange(&mut self, Request(number, version): Request, body: &[u8]) -> io::Result<Answer> {
        self.asked += 1;
        let mut head = Vec::new();
        head.put_i16(number);
        head.put_i16(version);
        head.put_i32(self.asked);
        put_text(&mut head, "epicenter");
        let mut request = Vec::new();
        put_size(&mut request, head.len() + body.len());
        self.stream.write_all(&[request, head, body.to_vec()].concat())?;
        self.stream.flush()?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        if size > MOST {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("an answer of {size} bytes")));
        }
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer)?;
        let mut answer = Answer(answer.into());
        if answer.int()? != self.asked {
            return Err(io::Error::new(ErrorKind::InvalidData, "an answer to another request"));
        }
        Ok(answer)
    }
}

/// Puts TLS around a connection, where that is what the brokers speak.
fn dress(config: &KafkaConfig, broker: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    let is = |name: &str, value: &str| config.properties.get(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if !is("security.protocol", "SASL_SSL") {
        return Ok(Box::new(stream));
    }
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
    let trusted = context(config)?;
    let mut ssl = Ssl::new(&trusted)?;
    if !is("enable.ssl.certificate.verification", "false") {
        ssl.set_verify(SslVerifyMode::PEER);
    }
    if !is("ssl.endpoint.identification.algorithm", "none") {
        expect(&mut ssl, host)?;
    }
    Ok(Box::new(ssl.connect(stream).map_err(|error| io::Error::other(error.to_string()))?))
}

fn error(code: i16) -> Option<Code> {
    let known = RDKafkaRespErr::try_from(i32::from(code)).map_or(Code::Unknown, Code::from);
    (code != 0).then_some(known)
}

fn put_size(out: &mut Vec<u8>, size: usize) {
    out.put_i32(i32::try_from(size).unwrap_or(i32::MAX));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_size(out, items.len());
    items.iter().for_each(|item| put(out, item));
}

/// What is left of an answer.
struct Answer(Bytes);

impl Answer {
    fn byte(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(io::Error::other)
    }

    fn short(&mut self) -> io::Result<i16> {
        self.0.try_get_i16().map_err(io::Error::other)
    }

    fn int(&mut self) -> io::Result<i32> {
        self.0.try_get_i32().map_err(io::Error::other)
    }

    /// So many bytes; none when it is less than that.
    fn take(&mut self, size: i64) -> io::Result<Bytes> {
        let size = usize::try_from(size).unwrap_or(0);
        if size > self.0.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(self.0.split_to(size))
    }

    fn bytes(&mut self) -> io::Result<Bytes> {
        let size = self.int()?;
        self.take(size.into())
    }

    fn text(&mut self) -> io::Result<Option<String>> {
        let size = self.short()?;
        let text = self.take(size.into())?;
        Ok((size >= 0).then(|| String::from_utf8_lossy(&text).into_owned()))
    }

    fn name(&mut self) -> io::Result<String> {
        self.text()?.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a name is missing"))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let size = self.int()?;
        (0..size).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_is_an_error() {
        let whole = [0, 0, 0, 2, 0, 1, b'a', 0xff, 0xff];
        let read = |bytes: &[u8]| Answer(Bytes::copy_from_slice(bytes)).list(Answer::text);
        assert_eq!(read(&whole).unwrap(), [Some("a".to_owned()), None]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn codes_are_those_of_the_library() {
        assert_eq!(error(0), None);
        assert_eq!(error(29), Some(Code::TopicAuthorizationFailed));
        assert_eq!(error(36), Some(Code::TopicAlreadyExists));
        assert_eq!(error(i16::MAX), Some(Code::Unknown));
    }
}
