//! ORDEREDSUBJECT: messages of one subject are one conversation (RFC 5256 §3).

use super::{Node, Threadable, Threads};

/// By base subject, then by the date that they were sent: the first of each subject is answered by all others of it.
pub fn ordered_subject(messages: &[Threadable]) -> Threads {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|index| (&messages[*index].subject, messages[*index].sent, *index));
    let mut nodes: Vec<Node> =
        (0..messages.len()).map(|index| Node { message: Some(index), children: Vec::new() }).collect();
    let mut roots: Vec<usize> = Vec::new();
    for index in order {
        match roots.last() {
            Some(root) if messages[*root].subject == messages[index].subject => nodes[*root].children.push(index),
            _ => roots.push(index),
        }
    }
    // The conversations themselves by the date of their first message.
    roots.sort_by_key(|root| (messages[*root].sent, *root));
    Threads { nodes, roots }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{messages, written};
    use super::*;

    #[test]
    fn known_answers() {
        let of = |lines: &[&str]| written(&ordered_subject(&messages(lines)));
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["<:a", "<:b", "<:Re: a", "<:c", "<:Fwd: a", "<:re: b"]), "(1 (3)(5))(2 6)(4)");
    }
}
