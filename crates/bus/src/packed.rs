//! A table whose rows lie in compressed pages: a third of the memory, for some µs a row.
//!
//! Rows lie in order of key, some KiB of them to a page. What was written last lies beside the pages as it is, and goes
//! into them together: rows that are written in order of key open each page once.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes of a page at most, unless a single row has more: the more, the smaller in memory, and the longer to read a row.
const PAGE: usize = 8 * 1024;
/// Bytes beside the pages at most.
const FRESH: usize = 256 * 1024;

/// A key and its value, as they are read.
pub type Entry<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    /// Pages by the key of their first row; the first one has whatever comes before it, too.
    pages: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Rows that were written since, `None` for those that were deleted.
    fresh: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    fresh_bytes: usize,
}

impl Packed {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        if let Some(row) = self.fresh.get(key) {
            return row.as_deref().map(Cow::Borrowed);
        }
        let (_, page) = self.pages.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let rows = unpack(page);
        let found = rows_of(&rows).find(|(row, _)| *row == key).map(|(_, value)| value.to_vec());
        found.map(Cow::Owned)
    }

    /// The rows from `from` on, in order of key.
    pub(crate) fn scan(&self, from: &[u8]) -> impl Iterator<Item = Entry<'_>> {
        let first = self.pages.range::<[u8], _>((Bound::Unbounded, Bound::Included(from))).next_back();
        let first = first.map_or(Bound::Unbounded, |(key, _)| Bound::Included(key.as_ref()));
        let pages = self.pages.range::<[u8], _>((first, Bound::Unbounded));
        let from_page = from.to_vec();
        let packed = pages
            .flat_map(|(_, page)| {
                let rows = unpack(page);
                rows_of(&rows).map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>()
            })
            .skip_while(move |(key, _)| *key < from_page)
            .map(|(key, value)| (Cow::Owned(key), Cow::Owned(value)));
        let fresh = self.fresh.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        overlaid(packed, fresh.map(|(key, value)| (key.as_ref(), value.as_deref())))
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.fresh_bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.fresh.insert(key.into(), value.map(Into::into));
        if self.fresh_bytes > FRESH {
            self.pack();
        }
    }

    /// Puts what lies beside the pages into them.
    fn pack(&mut self) {
        self.fresh_bytes = 0;
        let mut fresh = std::mem::take(&mut self.fresh);
        while let Some((key, _)) = fresh.first_key_value() {
            let before = self.pages.range::<[u8], _>((Bound::Unbounded, Bound::Included(key.as_ref()))).next_back();
            let first = before.or_else(|| self.pages.first_key_value()).map(|(first, _)| first.clone());
            // What belongs to the pages after that one.
            let next = first.as_ref().and_then(|first| {
                let after = self.pages.range::<[u8], _>((Bound::Excluded(first.as_ref()), Bound::Unbounded)).next();
                after.map(|(next, _)| next.clone())
            });
            let rest = next.map(|next| fresh.split_off(&next)).unwrap_or_default();
            let page = first.and_then(|first| self.pages.remove(&first)).map(|page| unpack(&page)).unwrap_or_default();
            let rows = rows_of(&page).map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value)));
            let fresh_rows = fresh.iter().map(|(key, value)| (key.as_ref(), value.as_deref()));
            self.pages.extend(paged(&overlaid(rows, fresh_rows).collect::<Vec<_>>()));
            fresh = rest;
        }
    }
}

/// `rows` with what was written since; both are in order of key.
pub(crate) fn overlaid<'r, 'w: 'r>(
    rows: impl Iterator<Item = Entry<'r>>,
    written: impl Iterator<Item = (&'w [u8], Option<&'w [u8]>)>,
) -> impl Iterator<Item = Entry<'r>> {
    let (mut rows, mut written) = (rows.peekable(), written.peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (rows.peek(), written.peek()) {
                (Some((row, _)), Some((key, _))) => row.as_ref().cmp(key),
                (None, Some(_)) => Ordering::Greater,
                (_, None) => return rows.next(),
            };
            match order {
                Ordering::Less => return rows.next(),
                Ordering::Equal => drop(rows.next()),
                Ordering::Greater => {
                    if let Some((key, Some(value))) = written.next() {
                        return Some((Cow::Borrowed(key), Cow::Borrowed(value)));
                    }
                }
            }
        }
    })
}

/// Pages of `rows`, all of about the same size.
fn paged(rows: &[Entry<'_>]) -> Vec<(Box<[u8]>, Box<[u8]>)> {
    let whole: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    let size = whole.div_ceil(whole.div_ceil(PAGE).max(1));
    let mut pages = Vec::new();
    let mut page = Vec::with_capacity(size + size / 4);
    let mut first = None;
    for (key, value) in rows {
        first.get_or_insert(key);
        for part in [key, value] {
            page.extend_from_slice(&u32::try_from(part.len()).expect("a row is far below 4 GiB").to_be_bytes());
            page.extend_from_slice(part);
        }
        if page.len() >= size {
            pages.extend(first.take().map(|first| (first.as_ref().into(), pack(&page))));
            page.clear();
        }
    }
    pages.extend(first.map(|first| (first.as_ref().into(), pack(&page))));
    pages
}

fn pack(page: &[u8]) -> Box<[u8]> {
    lz4_flex::compress_prepend_size(page).into()
}

fn unpack(page: &[u8]) -> Vec<u8> {
    lz4_flex::decompress_size_prepended(page).expect("it was compressed by this process")
}

fn rows_of(page: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = page;
    let mut part = move || {
        let (length, more) = rest.split_first_chunk()?;
        let (part, more) = more.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = more;
        Some(part)
    };
    std::iter::from_fn(move || Some((part()?, part()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys are few, so that they are written again; rows are long, so that there are many pages.
    fn writes() -> impl Strategy<Value = Vec<(u16, Option<(u8, usize)>)>> {
        let value = prop::option::weighted(0.8, (any::<u8>(), 0..4096_usize));
        prop::collection::vec((0..600_u16, value), 0..800)
    }

    fn key(number: u16) -> Vec<u8> {
        format!("cluster//Pod/shop/web-{number:04}").into_bytes()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn has_what_was_written(writes in writes()) {
            let (mut packed, mut plain) = (Packed::default(), BTreeMap::new());
            for (number, value) in &writes {
                let value = value.map(|(byte, length)| vec![byte; length]);
                packed.set(&key(*number), value.as_deref());
                match value {
                    Some(value) => drop(plain.insert(key(*number), value)),
                    None => drop(plain.remove(&key(*number))),
                }
            }
            for number in 0..600 {
                let found = packed.get(&key(number));
                prop_assert_eq!(found.as_deref(), plain.get(&key(number)).map(Vec::as_slice));
            }
            for from in [b"".to_vec(), key(0), key(300), [key(300), b"x".to_vec()].concat(), b"d".to_vec()] {
                let found = packed.scan(&from).map(|(key, value)| (key.into_owned(), value.into_owned()));
                let expected = plain.range(from.clone()..).map(|(key, value)| (key.clone(), value.clone()));
                prop_assert!(found.eq(expected), "from {}", from.escape_ascii());
            }
        }
    }

    #[test]
    fn is_full_of_rows_that_are_alike() {
        let mut packed = Packed::default();
        let row = |number: u16| [key(number), vec![b'x'; 400]].concat();
        for number in 0..9999 {
            packed.set(&key(number), Some(&row(number)));
        }
        let stored: usize = packed.pages.values().map(|page| page.len()).sum();
        assert!(stored < 9999 * 40, "{stored} bytes");
        assert!(packed.pages.len() < 9999 * 500 / PAGE, "{} pages", packed.pages.len());
        (0..9999).for_each(|number| packed.set(&key(number), None));
        packed.pack();
        assert!(packed.pages.is_empty());
    }
}
