//! The tree of causes of an incident: what brought about what, as its members say.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Incident, Member};

/// Of what comes of the same parent by the same rule, so many are shown.
const ALIKE: usize = 3;
/// The deepest level that is shown.
const LEVELS: usize = 20;

/// A place in the tree of causes.
#[derive(Clone, Debug, PartialEq)]
pub enum Branch<'i> {
    /// A member, and what it brought about.
    Member {
        /// The member.
        member: &'i Member,
        /// What came of it.
        below: Vec<Branch<'i>>,
    },
    /// Members that are like those beside them.
    More {
        /// How many.
        count: usize,
        /// The rule by which they belong there, or their role.
        rule: &'i str,
        /// Their reason.
        reason: &'i str,
        /// The kind of the objects that they are about.
        kind: &'i str,
    },
}

impl Incident {
    /// Its trees of causes: the one with the root first, what is no cause last. Each member is in it once, but for those that
    /// are like others.
    pub fn causes(&self) -> Vec<Branch<'_>> {
        let members = &self.members;
        let uids: BTreeSet<&str> = members.iter().map(|member| member.event_uid.as_str()).collect();
        let mut tree = Tree { members, below: BTreeMap::new(), seen: BTreeSet::new() };
        let mut tops = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let parent = member.because.as_ref().map(|because| because.parent.as_str());
            match parent.filter(|parent| uids.contains(parent) && *parent != member.event_uid) {
                Some(parent) => tree.below.entry(parent).or_default().push(index),
                None => tops.push(index),
            }
        }
        // What brought the root about stands first, what is no cause last.
        let origin = origin(members);
        tops.sort_by_key(|index| (Some(*index) != origin, members[*index].role == "recovery"));
        let mut branches = tree.rows(tops, 0);
        // What only a circle leads to.
        branches.extend((0..members.len()).filter_map(|index| tree.grow(index, 0)));
        branches
    }
}

struct Tree<'i> {
    members: &'i [Member],
    /// By the parent's uid.
    below: BTreeMap<&'i str, Vec<usize>>,
    seen: BTreeSet<usize>,
}

impl<'i> Tree<'i> {
    /// A member and what it brings about, unless it is in the tree already.
    fn grow(&mut self, index: usize, level: usize) -> Option<Branch<'i>> {
        if !self.seen.insert(index) {
            return None;
        }
        let member = &self.members[index];
        let children = self.below.get(member.event_uid.as_str()).cloned().unwrap_or_default();
        Some(Branch::Member { member, below: self.rows(children, level + 1) })
    }

    /// Members side by side, of those that are alike the first ones.
    fn rows(&mut self, indices: Vec<usize>, level: usize) -> Vec<Branch<'i>> {
        let mut alike: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        let mut more: BTreeMap<(&'i str, &'i str, &'i str), usize> = BTreeMap::new();
        let mut rows = Vec::new();
        for index in indices {
            let member = &self.members[index];
            let rule = member.because.as_ref().map_or(member.role.as_str(), |because| because.rule.as_str());
            let kind = (rule, member.reason.as_str(), member.regarding.kind.as_str());
            let count = alike.entry(kind).or_default();
            *count += 1;
            // What brings something about is always shown.
            let leaf = !self.below.contains_key(member.event_uid.as_str());
            if *count > ALIKE && leaf && member.role != "root" || level >= LEVELS {
                self.seen.insert(index);
                *more.entry(kind).or_default() += 1;
            } else {
                rows.push(index);
            }
        }
        let mut branches: Vec<_> = rows.into_iter().filter_map(|index| self.grow(index, level)).collect();
        let more = more.into_iter();
        branches.extend(more.map(|((rule, reason, kind), count)| Branch::More { count, rule, reason, kind }));
        branches
    }
}

/// The member at the top of the tree in which the root is.
fn origin(members: &[Member]) -> Option<usize> {
    let by_uid: BTreeMap<&str, usize> = (0..).zip(members).map(|(index, it)| (it.event_uid.as_str(), index)).collect();
    let mut at = members.iter().position(|member| member.role == "root")?;
    let mut seen = BTreeSet::new();
    while seen.insert(at) {
        let above = members[at].because.as_ref().and_then(|because| by_uid.get(because.parent.as_str()));
        at = *above.unwrap_or(&at);
    }
    Some(at)
}
