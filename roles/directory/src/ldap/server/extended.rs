//! Extended operations (RFC 4511 §4.12): password modify (RFC 3062) and who am I (RFC 4532).

use aws_lc_rs::rand;
use estafeta_core::directory::Directory as _;
use estafeta_core::{Address, Failure, Secret};
use ldap3_proto::proto::{
    LdapExtendedRequest, LdapExtendedResponse, LdapPasswordModifyRequest, LdapPasswordModifyResponse, LdapResultCode,
    OID_PASSWORD_MODIFY, OID_WHOAMI,
};

use super::{Conversation, Who, denied, place};
use crate::ldap::outcome::{Refusal, result};
use crate::ldap::place::Place;

/// Letters and digits that nobody takes for each other; 32 of them, so that each byte gives one without a bias.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// 80 bits.
const GENERATED_CHARACTERS: usize = 16;

impl Conversation {
    pub(super) async fn extended(
        &self,
        request: LdapExtendedRequest,
        controls: Result<(), Refusal>,
    ) -> LdapExtendedResponse {
        let answer = match (controls, request.name.as_str()) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), OID_WHOAMI) => Ok(plain(Some(self.who_am_i().into_bytes()))),
            (Ok(()), OID_PASSWORD_MODIFY) => self.modify_password(&request).await,
            (Ok(()), other) => Err(Refusal::new(
                LdapResultCode::ProtocolError,
                format!("the extended operation {other} is not known here"),
            )),
        };
        answer.unwrap_or_else(|refusal| LdapExtendedResponse { res: result(Err(refusal)), name: None, value: None })
    }

    /// The authorisation identity; empty for nobody (RFC 4532 §2.2).
    pub(super) fn who_am_i(&self) -> String {
        match &self.who {
            Who::Nobody => String::new(),
            Who::Node => self.node_identity(),
            Who::Account(address) => format!("dn:{}", Place::Account(address.clone()).dn()),
        }
    }

    async fn modify_password(&self, request: &LdapExtendedRequest) -> Result<LdapExtendedResponse, Refusal> {
        let request = match request.value {
            // Every field is optional, and so is their sequence.
            None => LdapPasswordModifyRequest { user_identity: None, old_password: None, new_password: None },
            Some(_) => LdapPasswordModifyRequest::try_from(request)
                .map_err(|error| Refusal::new(LdapResultCode::ProtocolError, error.to_string()))?,
        };
        let address = self.whose(request.user_identity.as_deref())?;
        if let Some(old) = request.old_password {
            self.store.authenticate(&address.to_string(), &Secret::new(old), self.peer).await?;
        }
        let (password, generated) = match request.new_password {
            Some(password) => (Secret::new(password), None),
            None => {
                let password = generate()?;
                (password.clone(), Some(password))
            }
        };
        self.store.set_password(&address, &password).await?;
        self.note_change("password modify", &Place::Account(address).dn());
        Ok(match generated {
            None => plain(None),
            Some(password) => {
                LdapPasswordModifyResponse { res: result(Ok(())), gen_password: Some(password.expose().to_owned()) }
                    .into()
            }
        })
    }

    /// Whose password is to be changed, if the peer may: a name or an address, by default the one who is bound.
    fn whose(&self, identity: Option<&str>) -> Result<Address, Refusal> {
        let own = match &self.who {
            Who::Account(address) => Some(address),
            Who::Node => None,
            Who::Nobody => return Err(denied("bind first")),
        };
        let asked = match identity {
            None => None,
            Some(name) => Some(match place(name) {
                Ok(Place::Account(address)) => address,
                _ => name
                    .parse()
                    .map_err(|_| Refusal::new(LdapResultCode::NoSuchObject, format!("{name:?} is no account")))?,
            }),
        };
        match (own, asked) {
            (Some(own), Some(asked)) if own.key() != asked.key() => {
                Err(denied("an account may change its own password, and nothing else"))
            }
            (Some(own), _) => Ok(own.clone()),
            (None, Some(asked)) => Ok(asked),
            (None, None) => {
                Err(Refusal::new(LdapResultCode::UnwillingToPerform, "a node has no password: say whose is meant"))
            }
        }
    }
}

fn plain(value: Option<Vec<u8>>) -> LdapExtendedResponse {
    LdapExtendedResponse { res: result(Ok(())), name: None, value }
}

fn generate() -> Result<Secret, Failure> {
    let mut bytes = [0; GENERATED_CHARACTERS];
    rand::fill(&mut bytes).map_err(|_| Failure::internal("no random numbers"))?;
    Ok(Secret::new(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()))
}
