//! REFERENCES: messages stand below what they answer (RFC 5256 §3), the steps numbered as there.

use std::collections::HashMap;

use super::{Node, Threadable, Threads};

/// Which tree a node stands in: on the way to its root, which is its own. The way is cut short when it is gone, so that it costs
/// next to nothing however deep a conversation is.
struct Trees(Vec<usize>);

impl Trees {
    fn of(nodes: usize) -> Self {
        Self((0..nodes).collect())
    }

    fn root(&mut self, mut node: usize) -> usize {
        while self.0[node] != node {
            self.0[node] = self.0[self.0[node]];
            node = self.0[node];
        }
        node
    }
}

/// While the conversations are put together.
struct Forest<'a> {
    messages: &'a [Threadable],
    nodes: Vec<Node>,
    parents: Vec<Option<usize>>,
}

/// By their references, and where these are missing by their subjects.
pub fn references(messages: &[Threadable]) -> Threads {
    let mut forest = Forest { messages, nodes: Vec::new(), parents: Vec::new() };
    forest.link();
    let mut roots = forest.prune();
    forest.sort_all(&mut roots);
    let mut roots = forest.gather_subjects(roots);
    forest.sort_all(&mut roots);
    Threads { nodes: forest.nodes, roots }
}

impl Forest<'_> {
    fn node(&mut self, message: Option<usize>) -> usize {
        self.nodes.push(Node { message, children: Vec::new() });
        self.parents.push(None);
        self.nodes.len() - 1
    }

    /// (1): each message below the last that it refers to, each that it refers to below the one before.
    fn link(&mut self) {
        let messages = self.messages;
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        let mut own = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            // An identifier that is missing, or taken, is one that nobody else has.
            let node = self.node(Some(index));
            if let Some(id) = &message.id {
                known.entry(id).or_insert(node);
            }
            own.push(node);
        }
        // What each refers to, in its order.
        let mut referred = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            for reference in &message.references {
                referred.push((index, *known.entry(reference).or_insert_with(|| self.node(None))));
            }
        }
        let mut trees = Trees::of(self.nodes.len());
        // (B): a message stands below the last that it refers to.
        for of_one in referred.chunk_by(|(one, _), (next, _)| one == next) {
            if let Some((index, above)) = of_one.last() {
                self.put_below(own[*index], *above, &mut trees);
            }
        }
        // (A): what it refers to, below the one before. What has a parent keeps it; a message that comes later says itself what
        // it stands below, be it nothing.
        for pair in referred.windows(2) {
            let [(before, above), (index, node)] = *pair else { continue };
            let says_itself = self.nodes[node].message.is_some_and(|message| message >= index);
            if before == index && !says_itself && self.parents[node].is_none() {
                self.put_below(node, above, &mut trees);
            }
        }
        for node in 0..self.nodes.len() {
            if let Some(parent) = self.parents[node] {
                self.nodes[parent].children.push(node);
            }
        }
    }

    /// Puts a node without a parent below another, unless that is the same, or below it.
    fn put_below(&mut self, node: usize, above: usize, trees: &mut Trees) {
        let root = trees.root(above);
        if root != node {
            self.parents[node] = Some(above);
            trees.0[node] = root;
        }
    }

    /// The nodes from these on, each before those below it.
    fn downwards(&self, roots: &[usize]) -> Vec<usize> {
        let mut order = roots.to_vec();
        let mut at = 0;
        while let Some(node) = order.get(at) {
            order.extend_from_slice(&self.nodes[*node].children);
            at += 1;
        }
        order
    }

    /// (2), (3): what is not there goes, where it does not hold a conversation together; gives where conversations begin.
    fn prune(&mut self) -> Vec<usize> {
        let roots: Vec<usize> = (0..self.nodes.len()).filter(|node| self.parents[*node].is_none()).collect();
        for node in self.downwards(&roots).into_iter().rev() {
            let children = std::mem::take(&mut self.nodes[node].children);
            self.nodes[node].children = self.without_absent(children);
        }
        let mut kept = Vec::new();
        for root in roots {
            let Node { message, children } = &self.nodes[root];
            match (message, children.as_slice()) {
                (None, []) => {}
                (None, [only]) => kept.push(*only),
                _ => kept.push(root),
            }
        }
        kept
    }

    /// The children, with those of what is not there in its place.
    fn without_absent(&mut self, children: Vec<usize>) -> Vec<usize> {
        if children.iter().all(|child| self.nodes[*child].message.is_some()) {
            return children;
        }
        let mut kept = Vec::new();
        for child in children {
            match self.nodes[child].message {
                Some(_) => kept.push(child),
                // A long row of those that are not there hands them up as they are.
                None if kept.is_empty() => kept = std::mem::take(&mut self.nodes[child].children),
                None => kept.append(&mut self.nodes[child].children),
            }
        }
        kept
    }

    /// When it was sent, and its place; of what is not there, of the first below it, which must be in order.
    fn moment(&self, node: usize) -> (i64, usize) {
        let first = self.nodes[node].message.or_else(|| self.first_child(node));
        first.map_or((i64::MAX, usize::MAX), |index| (self.messages[index].sent, index))
    }

    fn first_child(&self, node: usize) -> Option<usize> {
        self.nodes[node].children.first().and_then(|child| self.nodes[*child].message)
    }

    /// (4), (6): siblings by the date that they were sent, from below upwards.
    fn sort_all(&mut self, roots: &mut [usize]) {
        for node in self.downwards(roots).into_iter().rev() {
            let mut children = std::mem::take(&mut self.nodes[node].children);
            children.sort_by_key(|child| self.moment(*child));
            self.nodes[node].children = children;
        }
        roots.sort_by_key(|root| self.moment(*root));
    }

    /// The message by whose subject a conversation goes.
    fn speaker(&self, root: usize) -> Option<usize> {
        self.nodes[root].message.or_else(|| self.first_child(root))
    }

    /// (5): conversations of one subject become one.
    fn gather_subjects(&mut self, roots: Vec<usize>) -> Vec<usize> {
        let messages = self.messages;
        let is_dummy = |forest: &Self, node: usize| forest.nodes[node].message.is_none();
        let answers =
            |forest: &Self, node: usize| forest.speaker(node).is_some_and(|index| messages[index].is_reply_or_forward);
        // (B): for each subject the conversation that others join: one that is not there rather than one that is, then one
        // that is no answer.
        let mut table: HashMap<&str, usize> = HashMap::new();
        for root in &roots {
            let Some(subject) = self.speaker(*root).map(|index| messages[index].subject.as_str()) else { continue };
            if subject.is_empty() {
                continue;
            }
            let chosen = table.entry(subject).or_insert(*root);
            let (dummy, chosen_dummy) = (is_dummy(self, *root), is_dummy(self, *chosen));
            if dummy && !chosen_dummy || dummy == chosen_dummy && answers(self, *chosen) && !answers(self, *root) {
                *chosen = *root;
            }
        }
        // (C)
        let mut gone = vec![false; self.nodes.len()];
        let mut replaced: HashMap<usize, usize> = HashMap::new();
        for root in &roots {
            let Some(subject) = self.speaker(*root).map(|index| messages[index].subject.as_str()) else { continue };
            let Some(chosen) = table.get(subject).copied().filter(|chosen| chosen != root) else { continue };
            gone[*root] = true;
            match (is_dummy(self, *root), is_dummy(self, chosen)) {
                (true, true) => {
                    let children = std::mem::take(&mut self.nodes[*root].children);
                    self.nodes[chosen].children.extend(children);
                }
                (false, true) => self.nodes[chosen].children.push(*root),
                _ if answers(self, *root) && !answers(self, chosen) => self.nodes[chosen].children.push(*root),
                // Neither answers the other: what holds them together is not there.
                _ => {
                    let holder = self.node(None);
                    self.nodes[holder].children = vec![chosen, *root];
                    table.insert(subject, holder);
                    replaced.insert(chosen, holder);
                }
            }
        }
        let kept = roots.into_iter().filter(|root| !gone[*root]);
        kept.map(|root| replaced.get(&root).copied().unwrap_or(root)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{messages, written};
    use super::*;

    fn of(lines: &[&str]) -> String {
        written(&references(&messages(lines)))
    }

    #[test]
    fn by_references() {
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["a", "b<a", "c<a b", "d<a", "e"]), "(1 (2 3)(4))(5)");
        // The one in between is not there.
        assert_eq!(of(&["a", "c<a b"]), "(1 2)");
        // Nor the first: one answer stands for it, two are held together.
        assert_eq!(of(&["b<a"]), "(1)");
        assert_eq!(of(&["b<a", "c<a"]), "((1)(2))");
        assert_eq!(of(&["c<a b", "d<a b"]), "((1)(2))");
        // Its own references say more than those of others.
        assert_eq!(of(&["a", "x", "c<a b", "b<x"]), "(1)(2 4 3)");
        // One identifier twice, and none.
        assert_eq!(of(&["a", "a<x", "b<a", "", "<a"]), "(1 (3)(5))(2)(4)");
    }

    #[test]
    fn circles() {
        assert_eq!(of(&["a<a"]), "(1)");
        assert_eq!(of(&["a<b", "b<a"]), "(2 1)");
        assert_eq!(of(&["a<c", "b<a", "c<b"]).matches(char::is_numeric).count(), 3);
    }

    #[test]
    fn by_subject() {
        assert_eq!(of(&["a<:x", "b<:Re: x", "c<:y", "d<:Re: x"]), "(1 (2)(4))(3)");
        // Both are no answers, or both are: side by side.
        assert_eq!(of(&["a<:x", "b<:x", "c<:x"]), "((1)(2)(3))");
        assert_eq!(of(&["a<:Re: x", "b<:Re: x"]), "((1)(2))");
        // The answer came first.
        assert_eq!(of(&["a<:Re: x", "b<:x"]), "(2 1)");
        // What holds two answers together holds the third.
        assert_eq!(of(&["b<a:Re: x", "c<a:Re: x", "d<:x"]), "((1)(2)(3))");
        assert_eq!(of(&["b<a:Re: x", "c<a:Re: x", "d<e:Re: x", "f<e:x"]), "((1)(2)(3)(4))");
        // Nothing is said by an empty subject.
        assert_eq!(of(&["a<:", "b<:Re:"]), "(1)(2)");
    }

    #[test]
    fn by_date() {
        let mut late = messages(&["a", "b<a", "c<a"]);
        late[1].sent = 9;
        assert_eq!(written(&references(&late)), "(1 (3)(2))");
        late[0].sent = 99;
        late.push(Threadable { sent: 50, id: None, references: Vec::new(), ..late[0].clone() });
        assert_eq!(written(&references(&late)), "(4)(1 (3)(2))");
    }
}
