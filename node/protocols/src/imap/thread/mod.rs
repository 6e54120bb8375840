//! Conversations (RFC 5256 §3): which message answers which.
//!
//! Invariants: every message that comes in comes out, once; the work is about proportional to the messages and their
//! references, however they lie; nothing here calls itself, so that no depth of a conversation is too deep.

mod ordered_subject;
mod references;

pub use ordered_subject::ordered_subject;
pub use references::references;

/// What is known of a message that is to be put into a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threadable {
    /// Its identifier.
    pub id: Option<Vec<u8>>,
    /// The identifiers of what it answers, the first message first.
    pub references: Vec<Vec<u8>>,
    /// Its base subject, as it is compared.
    pub subject: String,
    /// Whether its subject says that it is a reply or forwarded.
    pub is_reply_or_forward: bool,
    /// When it was sent, in seconds since 1970.
    pub sent: i64,
}

/// Conversations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Threads {
    nodes: Vec<Node>,
    /// Where each conversation begins.
    roots: Vec<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Node {
    /// Which of the messages; none for one that is not there, or that only holds others together.
    message: Option<usize>,
    children: Vec<usize>,
}

/// A step through conversations, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A conversation, or a branch of one, begins.
    Open,
    /// Which of the messages.
    Message(usize),
    /// It ends.
    Close,
}

impl Threads {
    /// `thread-list = "(" (thread-members / thread-nested) ")"`,
    /// `thread-members = nz-number *(SP nz-number) [SP thread-nested]`, `thread-nested = 2*thread-list`
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut ahead: Vec<Result<Step, usize>> = Vec::new();
        for root in &self.roots {
            ahead.extend([Ok(Step::Close), Err(*root), Ok(Step::Open)]);
            while let Some(next) = ahead.pop() {
                let node = match next {
                    Ok(step) => {
                        steps.push(step);
                        continue;
                    }
                    Err(node) => &self.nodes[node],
                };
                steps.extend(node.message.map(Step::Message));
                match node.children.as_slice() {
                    // A chain goes on in the same list.
                    [only] => ahead.push(Err(*only)),
                    children => {
                        for child in children.iter().rev() {
                            ahead.extend([Ok(Step::Close), Err(*child), Ok(Step::Open)]);
                        }
                    }
                }
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As THREAD writes it, messages by their place from 1 on.
    pub(super) fn written(threads: &Threads) -> String {
        let mut text = String::new();
        for step in threads.steps() {
            match step {
                Step::Open => {
                    if text.ends_with(|last: char| last.is_ascii_digit()) {
                        text.push(' ');
                    }
                    text.push('(');
                }
                Step::Close => text.push(')'),
                Step::Message(index) => {
                    if !text.ends_with('(') {
                        text.push(' ');
                    }
                    text.push_str(&(index + 1).to_string());
                }
            }
        }
        text
    }

    /// `id < reference reference : subject`, sent in their order.
    pub(super) fn messages(lines: &[&str]) -> Vec<Threadable> {
        let message = |(index, line): (usize, &&str)| {
            let (id, rest) = line.split_once('<').unwrap_or((line, ""));
            let (references, subject) = rest.split_once(':').unwrap_or((rest, ""));
            let base = crate::imap::message::subject::BaseSubject::of(subject);
            Threadable {
                id: Some(id.trim().as_bytes().to_vec()).filter(|id| !id.is_empty()),
                references: references.split_whitespace().map(|one| one.as_bytes().to_vec()).collect(),
                subject: base.text,
                is_reply_or_forward: base.is_reply_or_forward,
                sent: index as i64,
            }
        };
        lines.iter().enumerate().map(message).collect()
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn every_message_comes_out_once(
            lines in proptest::collection::vec("[a-h]?<( [a-h]){0,4}:(Re: )?[xy]?", 0..20),
            sent in proptest::collection::vec(0_i64..5, 20),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut messages = messages(&lines);
            messages.iter_mut().zip(sent).for_each(|(message, sent)| message.sent = sent);
            for threads in [references(&messages), ordered_subject(&messages)] {
                let steps = threads.steps();
                let mut found: Vec<usize> =
                    steps.iter().filter_map(|step| if let Step::Message(index) = step { Some(*index) } else { None }).collect();
                found.sort_unstable();
                proptest::prop_assert_eq!(found, (0..messages.len()).collect::<Vec<_>>());
                // The grammar: lists are balanced, none is empty, and a nested one has company.
                let mut open = 0_i32;
                for (index, step) in steps.iter().enumerate() {
                    open += match step { Step::Open => 1, Step::Close => -1, Step::Message(_) => 0 };
                    proptest::prop_assert!(open >= 0);
                    proptest::prop_assert!(!(*step == Step::Open && steps.get(index + 1) == Some(&Step::Close)));
                }
                proptest::prop_assert_eq!(open, 0);
            }
        }
    }

    #[test]
    fn no_conversation_is_too_deep() {
        // In an order in which each was told of before it came, and looking up all that stand above it took for ever.
        let mut chain: Vec<Threadable> = (0..300_000_u32)
            .map(|number| Threadable {
                id: Some(number.to_be_bytes().to_vec()),
                references: number.checked_sub(1).map(|before| before.to_be_bytes().to_vec()).into_iter().collect(),
                subject: String::new(),
                is_reply_or_forward: false,
                sent: 0,
            })
            .collect();
        assert_eq!(references(&chain).steps().len(), 300_002);
        chain.reverse();
        assert_eq!(references(&chain).steps().len(), 300_002);
    }
}
