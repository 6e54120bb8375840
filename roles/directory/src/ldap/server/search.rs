//! Search (RFC 4511 §4.5) and compare (§4.10), with paged results (RFC 2696).

use std::io;
use std::time::{Duration, Instant};

use estafeta_core::Domain;
use estafeta_core::directory::Directory as _;
use estafeta_net::drive::Output;
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::{
    LdapCompareRequest, LdapFilter, LdapMsg, LdapOp, LdapPartialAttribute, LdapResultCode, LdapSearchRequest,
    LdapSearchResultEntry, LdapSearchScope,
};

use super::candidates::{self, Candidates, Position};
use super::{Conversation, ENTRIES, SEARCH_SECONDS, Who, denied, place};
use crate::ldap::entry::Entry;
use crate::ldap::filter::{self, Reach, Truth};
use crate::ldap::machine::encode;
use crate::ldap::outcome::Refusal;
use crate::ldap::place::{Place, Scope};
use crate::ldap::schema::{self, AttributeType};

/// How many terms a filter may have.
const FILTER_TERMS: usize = 1000;

/// How a search ended, and the control that goes with its last message.
type Ended = (Result<(), Refusal>, Option<LdapControl>);

impl Conversation {
    /// Searches, and sends what it finds as it finds it.
    pub(super) async fn search(
        &self,
        id: i32,
        request: LdapSearchRequest,
        controls: &[LdapControl],
        output: &mut Output<'_>,
    ) -> io::Result<Ended> {
        let page = match Page::of(&request, controls) {
            Ok(page) => page,
            Err(refusal) => return Ok((Err(refusal), None)),
        };
        let mut found = match self.found(&request, &page).await {
            Ok(found) => found,
            Err(refusal) => return Ok((Err(refusal), None)),
        };
        let selection = Selection::of(&request.attrs);
        let mut sent = 0;
        let mut last = None;
        let outcome = loop {
            let entry = match found.next().await {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    last = None;
                    break Ok(());
                }
                Err(refusal) => break Err(refusal),
            };
            if sent == page.entries {
                if page.asked {
                    break Ok(());
                }
                break Err(Refusal::new(
                    LdapResultCode::SizeLimitExceeded,
                    format!("there are more than {sent} entries: ask for them in pages"),
                ));
            }
            let answer = LdapOp::SearchResultEntry(selection.apply(&entry, request.typesonly));
            output.write(&encode(LdapMsg::new(id, answer))?).await?;
            sent += 1;
            last = Position::of(&entry.place);
        };
        if !page.asked {
            return Ok((outcome, None));
        }
        let more = last.filter(|_| outcome.is_ok());
        let cookie = more.map(|position| position.cookie()).unwrap_or_default();
        let size = self.estimate(&request.filter).await;
        Ok((outcome, Some(LdapControl::SimplePagedResults { size, cookie })))
    }

    /// How many entries fit in all (RFC 2696 §2: zero for a server that does not know). Known for the accounts of a
    /// store group, so that new accounts can be spread evenly without reading the old ones.
    async fn estimate(&self, filter: &LdapFilter) -> i64 {
        let (Who::Node, LdapFilter::Equality(name, value)) = (&self.who, filter) else { return 0 };
        let (true, Ok(group)) = (schema::attribute(name) == Some(&schema::STORE_GROUP), value.parse()) else {
            return 0;
        };
        self.store.accounts_in(&group).await.ok().and_then(|count| i64::try_from(count).ok()).unwrap_or(0)
    }

    /// What the search finds, once it may be made at all.
    async fn found<'a>(&self, request: &'a LdapSearchRequest, page: &Page) -> Result<FoundEntries<'a>, Refusal> {
        if filter::terms(&request.filter) > FILTER_TERMS {
            let text = format!("a filter takes at most {FILTER_TERMS} terms");
            return Err(Refusal::new(LdapResultCode::AdminLimitExceeded, text));
        }
        let base = place(&request.base)?;
        let scope = match request.scope {
            LdapSearchScope::Base => Scope::Base,
            LdapSearchScope::OneLevel => Scope::One,
            LdapSearchScope::Subtree => Scope::Subtree,
            LdapSearchScope::Children => Scope::Below,
        };
        let domains = self.store.our_domains().await?;
        let public = scope == Scope::Base && matches!(base, Place::Root | Place::Subschema);
        let candidates = match &self.who {
            _ if public => Candidates::new(&self.store, &base, scope, Reach::Everything, &domains, None).await?,
            Who::Nobody => {
                return Err(denied(
                    "bind first: by SASL EXTERNAL as a node, or with a name and a password as an account",
                ));
            }
            // An account sees itself, from wherever it looks.
            Who::Account(address) => {
                let own = candidates::at(&self.store, &Place::Account(address.clone()), &domains).await?;
                Candidates::Few(own.into_iter().collect())
            }
            Who::Node => {
                let own = candidates::at(&self.store, &base, &domains).await?;
                if base != Place::Root && own.is_none() {
                    return Err(nothing(&base, &domains));
                }
                match scope {
                    // What nodes ask about each address that they know nothing of: nothing is read twice.
                    Scope::Base => Candidates::Few(own.into_iter().collect()),
                    _ => {
                        let (reach, after) = (Reach::of(&request.filter), page.after.clone());
                        Candidates::new(&self.store, &base, scope, reach, &domains, after).await?
                    }
                }
            }
        };
        let seconds = u64::try_from(request.timelimit).unwrap_or(0);
        let seconds = if seconds == 0 { SEARCH_SECONDS } else { seconds.min(SEARCH_SECONDS) };
        Ok(FoundEntries {
            candidates,
            base,
            scope,
            domains,
            request,
            until: Instant::now() + Duration::from_secs(seconds),
        })
    }

    /// Compares one value.
    pub(super) async fn compare(&self, request: LdapCompareRequest) -> Result<(), Refusal> {
        self.check_node()?;
        let place = place(&request.dn)?;
        let domains = self.store.our_domains().await?;
        let entry = candidates::at(&self.store, &place, &domains).await?.ok_or_else(|| nothing(&place, &domains))?;
        let code = |code| Err(Refusal::new(code, ""));
        let Some(attribute) = schema::attribute(&request.atype) else {
            return code(LdapResultCode::UndefinedAttributeType);
        };
        if entry.values(attribute).is_empty() {
            return code(LdapResultCode::NoSuchAttribute);
        }
        let Ok(value) = String::from_utf8(request.val) else { return code(LdapResultCode::InvalidAttributeSyntax) };
        match filter::compare(attribute, &entry, &value, std::cmp::Ordering::is_eq) {
            Truth::True => code(LdapResultCode::CompareTrue),
            Truth::False => code(LdapResultCode::CompareFalse),
            Truth::Undefined => code(LdapResultCode::InvalidAttributeSyntax),
        }
    }
}

/// That a place is empty, with the lowest one above it that is not (RFC 4511 §4.1.9).
fn nothing(place: &Place, domains: &[Domain]) -> Refusal {
    let ours = place.domain().filter(|domain| domains.contains(domain)).cloned();
    let matched = match (place, ours) {
        (Place::Account(_), Some(domain)) => Place::People(domain).dn(),
        (Place::Alias(_), Some(domain)) => Place::Aliases(domain).dn(),
        _ => String::new(),
    };
    Refusal { matched, ..Refusal::new(LdapResultCode::NoSuchObject, format!("there is nothing at {:?}", place.dn())) }
}

/// The candidates that fit.
struct FoundEntries<'a> {
    candidates: Candidates,
    base: Place,
    scope: Scope,
    domains: Vec<Domain>,
    request: &'a LdapSearchRequest,
    until: Instant,
}

impl FoundEntries<'_> {
    async fn next(&mut self) -> Result<Option<Entry>, Refusal> {
        while let Some(entry) = self.candidates.next().await? {
            if Instant::now() > self.until {
                return Err(Refusal::new(
                    LdapResultCode::TimeLimitExceeded,
                    "the search took too long: narrow it, or ask for pages",
                ));
            }
            let reached = self.base.reaches(self.scope, &entry.place, &self.domains);
            if reached && filter::fits(&self.request.filter, &entry) == Truth::True {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// How much of an answer is asked for.
struct Page {
    /// Whether it is asked for in pages.
    asked: bool,
    /// How many entries at most.
    entries: usize,
    /// Behind which it goes on.
    after: Option<Position>,
}

impl Page {
    fn of(request: &LdapSearchRequest, controls: &[LdapControl]) -> Result<Self, Refusal> {
        let limit = usize::try_from(request.sizelimit).unwrap_or(0);
        let limit = if limit == 0 { usize::MAX } else { limit };
        let control = controls.iter().find_map(|control| match control {
            LdapControl::SimplePagedResults { size, cookie } => Some((usize::try_from(*size).unwrap_or(0), cookie)),
            _ => None,
        });
        match control {
            // RFC 2696 §3: a page that holds all that is asked for is no page.
            Some((size, cookie)) if size < limit => {
                let after = match cookie.as_slice() {
                    [] => None,
                    cookie => Some(Position::from_cookie(cookie).ok_or_else(|| {
                        Refusal::new(
                            LdapResultCode::UnwillingToPerform,
                            "the cookie of the page is not one of this server's",
                        )
                    })?),
                };
                Ok(Self { asked: true, entries: size.min(ENTRIES), after })
            }
            _ => Ok(Self { asked: false, entries: limit.min(ENTRIES), after: None }),
        }
    }
}

/// The attributes that are asked for (RFC 4511 §4.5.1.8, RFC 3673).
struct Selection {
    user: bool,
    operational: bool,
    named: Vec<&'static AttributeType>,
}

impl Selection {
    fn of(names: &[String]) -> Self {
        let has = |name: &str| names.iter().any(|one| one == name);
        Self {
            user: names.is_empty() || has("*"),
            operational: has("+"),
            named: names.iter().filter_map(|name| schema::attribute(name)).collect(),
        }
    }

    fn apply(&self, entry: &Entry, types_only: bool) -> LdapSearchResultEntry {
        let wanted = |attribute: &'static AttributeType| {
            let by_kind = if attribute.operational { self.operational } else { self.user };
            by_kind || self.named.contains(&attribute)
        };
        let attributes = entry.attributes().filter(|(attribute, _)| wanted(attribute)).map(|(attribute, values)| {
            let values = if types_only { &[] } else { values };
            LdapPartialAttribute {
                atype: attribute.name().to_owned(),
                vals: values.iter().map(|value| value.clone().into_bytes()).collect(),
            }
        });
        LdapSearchResultEntry { dn: entry.place.dn(), attributes: attributes.collect() }
    }
}
