//! The topic exchange: patterns of words, separated by dots. `*` stands for one word, `#` for any number of them, also
//! none.
//!
//! The patterns form a trie by words. Matching walks it with a set of places: where the words so far may have led. So the cost
//! goes with the length of the key and the number of places that really match, not with the number of bindings, and a
//! pattern with many `#` is no worse: a place is in the set at most once.

use std::collections::HashMap;

use super::{Target, Targets};
use crate::Text;

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    /// The first is the root. Places that became free are used again.
    nodes: Vec<Node>,
    free: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    words: HashMap<Text, usize>,
    star: Option<usize>,
    hash: Option<usize>,
    /// This node stands for a `#`: any word leads back to it.
    is_hash: bool,
    targets: Targets,
}

impl Default for Topic {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }
}

const ROOT: usize = 0;

impl Topic {
    pub(crate) fn bind(&mut self, pattern: &Text, target: Target) {
        let mut node = ROOT;
        for word in words(pattern.as_bytes()) {
            node = self.child(node, word).unwrap_or_else(|| self.add_child(node, word));
        }
        self.nodes[node].targets.add(target);
    }

    pub(crate) fn unbind(&mut self, pattern: &Text, target: &Target) {
        let mut path = vec![ROOT];
        for word in words(pattern.as_bytes()) {
            let Some(next) = self.child(*path.last().unwrap_or(&ROOT), word) else { return };
            path.push(next);
        }
        let last = *path.last().unwrap_or(&ROOT);
        self.nodes[last].targets.remove(target);
        self.prune(pattern, &path);
    }

    pub(crate) fn route<'a>(&'a self, key: &Text, found: &mut impl FnMut(&'a Target)) {
        let mut places = Vec::with_capacity(8);
        self.enter(ROOT, &mut places);
        let mut next = Vec::with_capacity(8);
        for word in words(key.as_bytes()) {
            next.clear();
            for &place in &places {
                self.step(place, word, &mut next);
            }
            std::mem::swap(&mut places, &mut next);
            if places.is_empty() {
                return;
            }
        }
        for place in places {
            self.nodes[place].targets.iter().for_each(&mut *found);
        }
    }

    /// Where one more word leads from a place.
    fn step(&self, place: usize, word: &[u8], next: &mut Vec<usize>) {
        let node = &self.nodes[place];
        if node.is_hash {
            self.enter(place, next);
        }
        for child in [node.words.get(word).copied(), node.star].into_iter().flatten() {
            self.enter(child, next);
        }
    }

    /// Adds a place, and the `#` behind it, which needs no word.
    fn enter(&self, place: usize, places: &mut Vec<usize>) {
        let mut place = Some(place);
        while let Some(added) = place.filter(|place| !places.contains(place)) {
            places.push(added);
            place = self.nodes[added].hash;
        }
    }

    fn child(&self, node: usize, word: &[u8]) -> Option<usize> {
        let node = &self.nodes[node];
        match word {
            b"*" => node.star,
            b"#" => node.hash,
            word => node.words.get(word).copied(),
        }
    }

    fn add_child(&mut self, parent: usize, word: &[u8]) -> usize {
        let new = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() - 1
        });
        self.nodes[new].is_hash = word == b"#";
        let parent = &mut self.nodes[parent];
        match word {
            b"*" => parent.star = Some(new),
            b"#" => parent.hash = Some(new),
            word => {
                parent.words.insert(Text::from(word.to_vec()), new);
            }
        }
        new
    }

    /// Removes the nodes at the end of `path` that lead nowhere any more.
    fn prune(&mut self, pattern: &Text, path: &[usize]) {
        let words: Vec<&[u8]> = words(pattern.as_bytes()).collect();
        for depth in (1..path.len()).rev() {
            let node = &self.nodes[path[depth]];
            let leads_on = node.star.is_some() || node.hash.is_some() || !node.words.is_empty();
            if leads_on || !node.targets.is_empty() {
                return;
            }
            let parent = &mut self.nodes[path[depth - 1]];
            match words[depth - 1] {
                b"*" => parent.star = None,
                b"#" => parent.hash = None,
                word => drop(parent.words.remove(word)),
            }
            self.nodes[path[depth]] = Node::default();
            self.free.push(path[depth]);
        }
    }

    #[cfg(test)]
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}

/// The words of a key; the empty key has none, which `#` alone matches.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let none = key.is_empty();
    key.split(|&byte| byte == b'.').filter(move |_| !none)
}

/// Whether `key` matches `pattern`: the rule itself, word by word, for single questions.
///
/// ```
/// use annals_queues::routing::topic_matches;
/// assert!(topic_matches(b"orders.*.new", b"orders.eu.new"));
/// assert!(topic_matches(b"orders.#", b"orders"));
/// assert!(!topic_matches(b"orders.*", b"orders.eu.new"));
/// ```
pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (pattern, key): (Vec<_>, Vec<_>) = (words(pattern).collect(), words(key).collect());
    // Which lengths of the key the pattern so far can have used up.
    let mut reached = vec![false; key.len() + 1];
    reached[0] = true;
    for word in pattern {
        if word == b"#" {
            let first = reached.iter().position(|&is| is).unwrap_or(reached.len());
            reached[first..].fill(true);
            continue;
        }
        for used in (0..key.len()).rev() {
            reached[used + 1] = reached[used] && (word == b"*" || word == key[used]);
        }
        reached[0] = false;
    }
    reached[key.len()]
}
