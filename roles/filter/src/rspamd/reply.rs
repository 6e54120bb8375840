//! The verdict as the JSON of the reply.

use std::collections::BTreeMap;

use estafeta_core::delivery::{SPAM_HEADER, SPAM_HEADER_YES};
use estafeta_core::judge::{Action, Symbol, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::verdict::default_explanation;

/// The reply of `/checkv2`, as far as it concerns us.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    #[serde(default)]
    is_skipped: bool,
    action: String,
    // Null where rspamd skipped the message, or a rule decided before there was a score.
    score: Option<f64>,
    required_score: Option<f64>,
    #[serde(default)]
    symbols: BTreeMap<String, ReplySymbol>,
    #[serde(default)]
    messages: BTreeMap<String, Value>,
    #[serde(default)]
    milter: Milter,
    #[serde(rename = "message-id", default)]
    message_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReplySymbol {
    name: String,
    #[serde(default)]
    score: f64,
    #[serde(default)]
    options: Vec<Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Milter {
    /// By name: a text, an object with the text as its `value`, or an array of either.
    #[serde(default)]
    add_headers: BTreeMap<String, Value>,
}

/// The key in `messages` of what the client of a refusal reads.
const SMTP_MESSAGE: &str = "smtp_message";

impl Reply {
    /// The reply that says this.
    pub fn new(verdict: &Verdict, message_id: String) -> Self {
        let symbol = |symbol: &Symbol| {
            let options = symbol.options.iter().map(|option| Value::from(option.as_str())).collect();
            (symbol.name.clone(), ReplySymbol { name: symbol.name.clone(), score: symbol.score, options })
        };
        let mut add_headers: BTreeMap<String, Value> = BTreeMap::new();
        for (order, (name, value)) in verdict.headers.iter().enumerate() {
            let header = json!({ "value": value, "order": order });
            match add_headers.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(header),
                other => *other = header,
            }
        }
        let explanation =
            verdict.explanation.as_ref().map(|text| (SMTP_MESSAGE.to_owned(), Value::from(text.as_str())));
        Self {
            is_skipped: false,
            action: action_name(verdict.action).to_owned(),
            score: Some(verdict.score),
            required_score: Some(verdict.required_score),
            symbols: verdict.symbols.iter().map(symbol).collect(),
            messages: explanation.into_iter().collect(),
            milter: Milter { add_headers },
            message_id,
        }
    }

    /// What the reply says. A refusal has words for its client; a message for Junk carries the header that the mailbox
    /// goes by, once, and no other does, whoever judged it. The error is the action that nobody knows.
    pub fn into_verdict(self) -> Result<Verdict, String> {
        let action = action_of(&self.action).ok_or(self.action)?;
        let mut headers: Vec<(i64, String, String)> = Vec::new();
        for (name, value) in self.milter.add_headers {
            let values = match value {
                Value::Array(values) => values,
                other => vec![other],
            };
            for value in &values {
                let (text, order) = (value.as_str().or_else(|| value["value"].as_str()), value["order"].as_i64());
                headers.extend(text.map(|text| (order.unwrap_or(i64::MAX), name.clone(), one_line(text))));
            }
        }
        headers.retain(|(_, name, _)| is_field_name(name));
        headers.sort_by_key(|(order, ..)| *order);
        let mut headers: Vec<(String, String)> = headers.into_iter().map(|(_, name, value)| (name, value)).collect();
        let is_mark = |(name, _): &(String, String)| name.eq_ignore_ascii_case(SPAM_HEADER);
        let place = headers.iter().position(is_mark).unwrap_or(headers.len());
        headers.retain(|header| !is_mark(header));
        if action == Action::Junk {
            headers.insert(place, (SPAM_HEADER.to_owned(), SPAM_HEADER_YES.to_owned()));
        }
        let option = |option: Value| option.as_str().map_or_else(|| option.to_string(), str::to_owned);
        let symbol = |symbol: ReplySymbol| Symbol {
            name: symbol.name,
            score: symbol.score,
            options: symbol.options.into_iter().map(option).collect(),
        };
        let explanation = self.messages.get(SMTP_MESSAGE).and_then(Value::as_str).map(one_line);
        Ok(Verdict {
            action,
            score: self.score.unwrap_or_default(),
            required_score: self.required_score.unwrap_or_default(),
            symbols: self.symbols.into_values().map(symbol).collect(),
            headers,
            explanation: explanation.or_else(|| default_explanation(action).map(str::to_owned)),
        })
    }
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Accept => "no action",
        Action::Greylist => "greylist",
        Action::Junk => "add header",
        Action::Defer => "soft reject",
        Action::Reject => "reject",
    }
}

fn action_of(name: &str) -> Option<Action> {
    Some(match name {
        "no action" | "accept" => Action::Accept,
        "greylist" => Action::Greylist,
        "add header" | "add_header" | "rewrite subject" | "rewrite_subject" | "quarantine" => Action::Junk,
        "soft reject" | "soft_reject" => Action::Defer,
        "reject" | "discard" => Action::Reject,
        _ => return None,
    })
}

/// A value without line ends: folding becomes a space, so that nobody can smuggle a field in.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").replace(char::is_control, "")
}

/// RFC 5322 §2.2: printable ASCII without a colon.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict() -> Verdict {
        Verdict {
            action: Action::Junk,
            score: 7.5,
            required_score: 15.0,
            symbols: vec![Symbol { name: "A".into(), score: 7.5, options: vec!["x".into(), "y".into()] }],
            headers: vec![
                ("Z-First".into(), "1".into()),
                ("A-Second".into(), "2".into()),
                ("A-Second".into(), "3".into()),
                ("X-Spam".into(), "Yes".into()),
            ],
            explanation: Some("because".into()),
        }
    }

    fn read(text: &str) -> Result<Verdict, String> {
        serde_json::from_str::<Reply>(text).map_err(|error| error.to_string())?.into_verdict()
    }

    #[test]
    fn a_verdict_goes_there_and_back() {
        for action in [Action::Accept, Action::Greylist, Action::Junk, Action::Defer, Action::Reject] {
            let mut verdict = Verdict { action, ..verdict() };
            if action != Action::Junk {
                verdict.headers.retain(|(name, _)| name != SPAM_HEADER);
            }
            let text = serde_json::to_string(&Reply::new(&verdict, "a@b".into())).unwrap();
            assert_eq!(read(&text), Ok(verdict));
        }
    }

    #[test]
    fn what_rspamd_answers_is_read() {
        let verdict = read(r#"{"is_skipped":false,"score":6.2,"required_score":15.0,"action":"add header","thresholds":{"reject":15.0},
            "symbols":{"DATE_IN_PAST":{"name":"DATE_IN_PAST","score":0.1,"metric_score":0.1,"description":"x"},
                       "ARC_NA":{"name":"ARC_NA","score":0.0,"options":["a"]}},
            "messages":{},"message-id":"x@y","time_real":0.05,
            "milter":{"add_headers":{"X-Spamd-Bar":{"value":"++\n ++","order":1},"X-Plain":"text","bad name":"x"},"remove_headers":{"X-Spam":0}}}"#).unwrap();
        assert_eq!((verdict.action, verdict.score), (Action::Junk, 6.2));
        assert_eq!(verdict.symbols.len(), 2);
        assert_eq!(
            verdict.headers,
            [
                ("X-Spamd-Bar".into(), "++ ++".into()),
                ("X-Plain".into(), "text".into()),
                ("X-Spam".into(), "Yes".into())
            ]
        );
        let skipped = read(r#"{"is_skipped":true,"score":null,"required_score":null,"action":"no action"}"#).unwrap();
        assert_eq!((skipped.action, skipped.explanation), (Action::Accept, None));
        assert!(read(r#"{"action":"reject","score":15.2,"required_score":15}"#).unwrap().explanation.is_some());
        assert_eq!(read(r#"{"action":"dance"}"#), Err("dance".into()));
    }

    #[test]
    fn junk_is_marked_once_and_nothing_else_is() {
        let marks = |action: &str, headers: Value| -> Vec<String> {
            let reply = json!({ "action": action, "milter": { "add_headers": headers } });
            let headers = read(&reply.to_string()).unwrap().headers;
            headers
                .into_iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("X-Spam"))
                .map(|(_, value)| value)
                .collect()
        };
        for headers in [
            json!({}),
            json!({ "X-Spam": "Yes" }),
            json!({ "X-Spam": ["Yes", "Yes"], "x-spam": "Yes" }),
            json!({ "X-Spam": "No" }),
            json!({ "X-SPAM": "yes", "X-Spam": { "value": "Yes", "order": 0 } }),
        ] {
            assert_eq!(marks("rewrite subject", headers.clone()), ["Yes"], "{headers}");
            assert!(marks("no action", headers.clone()).is_empty(), "{headers}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_smuggles_a_field_in(name in any::<String>(), value in any::<String>()) {
            let reply = json!({ "action": "no action", "milter": { "add_headers": { name: value } } });
            for (name, value) in read(&reply.to_string()).unwrap().headers {
                prop_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
            }
        }
    }
}
