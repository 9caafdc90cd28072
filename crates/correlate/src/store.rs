//! What is stored of a cluster's state, and how it is restored.

use std::collections::BTreeMap;

use epicenter_model::Silence;

use crate::ENGINE;
use crate::entity::Entity;
use crate::live::{Head, Live};
use crate::quotes::Quotes;
use crate::recurrence::History;
use crate::row::Row;
use crate::state::ClusterState;
use crate::voice::Voice;
use crate::wire::{CLUSTER, Key, StateError};

impl ClusterState {
    /// The state that was written as `entries` by [`ClusterState::flush`], in any order.
    ///
    /// # Errors
    /// An entry in a format that this engine does not read, or that is damaged. Never retryable.
    pub fn restore<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        cluster: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, StateError> {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        let writer = entries.iter().find(|(key, _)| matches!(Key::decode(key.as_ref()), Ok(Key::Writer)));
        let writer = writer.map(|(_, value)| String::from_utf8_lossy(value.as_ref()).into_owned());
        Self::read(cluster, &entries, writer.as_deref())
            .map_err(|error| writer.iter().fold(error, |error, writer| error.by(writer)))
    }

    fn read<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        cluster: &str,
        entries: &[(K, V)],
        writer: Option<&str>,
    ) -> Result<Self, StateError> {
        let mut state = Self::new(cluster);
        state.unwritten.writer = writer != Some(ENGINE);
        let mut heads: BTreeMap<u64, Head> = BTreeMap::new();
        let mut rows: BTreeMap<u64, BTreeMap<u32, Row>> = BTreeMap::new();
        let mut voices: BTreeMap<u64, Voice> = BTreeMap::new();
        let mut quotes: BTreeMap<u64, Quotes> = BTreeMap::new();
        let mut silences: Vec<Silence> = Vec::new();
        for (key, value) in entries {
            let (key, value) = (key.as_ref(), value.as_ref());
            match Key::decode(key)? {
                Key::Writer => {}
                Key::Clock => state.clock = CLUSTER.decode(key, value)?,
                Key::Entity(_) => state.entities.insert(CLUSTER.decode::<Entity>(key, value)?),
                Key::Head(no) => _ = heads.insert(no, CLUSTER.decode(key, value)?),
                Key::Row(no, row) => _ = rows.entry(no).or_default().insert(row, CLUSTER.decode(key, value)?),
                Key::Redirect(no) => _ = state.redirects.insert(no, CLUSTER.decode(key, value)?),
                Key::Fingerprint(text) => state.histories.insert(text, History::read(key, value)?),
                Key::Kind(text) => state.histories.insert_kind(text, CLUSTER.decode(key, value)?),
                Key::Series(number) => state.rates.insert(number, CLUSTER.decode(key, value)?),
                Key::Profile(class) => state.rates.insert_profile(&class, CLUSTER.decode(key, value)?),
                Key::Memory => state.memory = CLUSTER.decode(key, value)?,
                Key::Voice(no) => _ = voices.insert(no, CLUSTER.decode(key, value)?),
                Key::Quotes(no) => _ = quotes.insert(no, CLUSTER.decode(key, value)?),
                Key::Silence(_) => silences.push(CLUSTER.decode(key, value)?),
                Key::Apart(no) => state.partings.insert(no, CLUSTER.decode(key, value)?),
            }
        }
        state.entities.given = state.clock.entities;
        for (no, head) in heads {
            let mut live = Live::restored(head, rows.remove(&no).unwrap_or_default());
            live.voice = voices.remove(&no).unwrap_or_default();
            live.quotes = quotes.remove(&no).unwrap_or_default();
            for (number, row) in &live.rows {
                state.index(no, *number, row.keys());
            }
            state.timers.set(no, live.alarm());
            state.incidents.insert(no, Box::new(live));
        }
        for silence in silences {
            state.silences.insert(silence, state.clock.now);
        }
        state.straighten();
        Ok(state)
    }

    /// Redirects of format 1 may lead to others: each leads to the incident at the end then, which lists it.
    fn straighten(&mut self) {
        let crooked = self.redirects.iter().filter(|(_, (to, _))| !self.incidents.contains_key(to));
        let mut crooked: Vec<u64> = crooked.map(|(no, _)| *no).collect();
        crooked.sort_unstable();
        for no in crooked {
            let (mut to, mut offset) = self.redirects.remove(&no).unwrap_or_default();
            // The one that was opened first has survived.
            while let Some((next, base)) = self.redirects.get(&to).filter(|(next, _)| *next < to) {
                (to, offset) = (*next, offset.saturating_add(*base));
            }
            self.unwritten.keys.push(Key::Redirect(no));
            let Some(live) = self.incidents.get_mut(&to) else { continue };
            self.redirects.insert(no, (to, offset));
            live.head.absorbed.push(no);
            if !std::mem::replace(&mut live.unwritten, true) {
                self.unwritten.incidents.push(to);
            }
        }
        self.unwritten.any = !self.unwritten.keys.is_empty();
    }

    /// Gives `put` what changed since the last time: keys, and values or `None` to delete. Keys are unique within a cluster
    /// and begin with a tag byte; values are smaller than 64 KiB. The entries are the same whenever, and however often, this
    /// is called.
    pub fn flush(&mut self, mut put: impl FnMut(Vec<u8>, Option<Vec<u8>>)) {
        if !std::mem::take(&mut self.unwritten.any) {
            return;
        }
        if std::mem::take(&mut self.unwritten.writer) {
            put(Key::Writer.encode(), Some(ENGINE.into()));
        }
        for id in std::mem::take(&mut self.entities.unwritten) {
            let entity = self.entities.written(id);
            put(Key::Entity(id).encode(), entity.map(|value| CLUSTER.encode(value)));
        }
        for key in std::mem::take(&mut self.rates.unwritten) {
            let series = self.rates.written(key);
            put(Key::Series(key).encode(), series.map(|value| CLUSTER.encode(value)));
        }
        for no in std::mem::take(&mut self.unwritten.incidents) {
            let Some(live) = self.incidents.get_mut(&no) else { continue };
            live.unwritten = false;
            put(Key::Head(no).encode(), Some(CLUSTER.encode(&live.head)));
            for number in std::mem::take(&mut live.dirty) {
                if let Some(row) = live.rows.get(&number) {
                    put(Key::Row(no, number).encode(), Some(CLUSTER.encode(row)));
                }
            }
        }
        if std::mem::take(&mut self.unwritten.memory) {
            put(Key::Memory.encode(), self.entry(&Key::Memory));
        }
        for key in std::mem::take(&mut self.unwritten.keys) {
            put(key.encode(), self.entry(&key));
        }
        self.clock.entities = self.entities.given;
        put(Key::Clock.encode(), Some(CLUSTER.encode(&self.clock)));
    }

    /// The value of an entry, if there is one.
    fn entry(&self, key: &Key) -> Option<Vec<u8>> {
        match key {
            Key::Writer => Some(ENGINE.into()),
            Key::Clock => Some(CLUSTER.encode(&self.clock)),
            Key::Entity(id) => self.entities.get(*id).map(|value| CLUSTER.encode(value)),
            Key::Head(no) => self.incidents.get(no).map(|live| CLUSTER.encode(&live.head)),
            Key::Row(no, row) => self.incidents.get(no)?.rows.get(row).map(|value| CLUSTER.encode(value)),
            Key::Redirect(no) => self.redirects.get(no).map(|value| CLUSTER.encode(value)),
            Key::Voice(no) => {
                let voice = self.incidents.get(no).map(|live| &live.voice);
                voice.filter(|voice| voice.is_heard()).map(|value| CLUSTER.encode(value))
            }
            Key::Quotes(no) => {
                let quotes = self.incidents.get(no).map(|live| &live.quotes);
                quotes.filter(|quotes| !quotes.is_empty()).map(|value| CLUSTER.encode(value))
            }
            Key::Silence(id) => self.silences.get(id).map(|value| CLUSTER.encode(value)),
            Key::Apart(no) => self.partings.get(*no).map(|value| CLUSTER.encode(value)),
            Key::Fingerprint(text) => self.histories.get(text).map(|value| CLUSTER.encode(value)),
            Key::Kind(text) => self.histories.kind(text).map(|value| CLUSTER.encode(&value)),
            Key::Series(key) => self.rates.get(*key).map(|value| CLUSTER.encode(value)),
            Key::Profile(class) => self.rates.profile(class).map(|value| CLUSTER.encode(value)),
            Key::Memory => Some(CLUSTER.encode(&self.memory)),
        }
    }
}
