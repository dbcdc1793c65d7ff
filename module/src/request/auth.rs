//! Access, passwords and groups that scripts decide: what WSGIAccessScript,
//! WSGIAuthUserScript and WSGIAuthGroupScript mean to httpd. Only the exact
//! answer to the call lets a client in; anything else is an error.

use std::borrow::Cow;
use std::ffi::CStr;

use serde_bytes::Bytes;
use wsgid_protocol::request::Call;
use wsgid_protocol::response::Answer;

use crate::configuration::config::{DirConfig, ScriptRef};
use crate::configuration::words::Words;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::{self, LogLine};
use crate::request::script_call;
use crate::sys;

/// httpd's access hook.
pub(crate) fn check_access(r: Request<'_>) -> i32 {
    let Some(script) = &DirConfig::of(r).access_script else {
        return sys::DECLINED;
    };
    let host = r.client_host().unwrap_or_default();
    let call = Call::AllowAccess {
        host: Bytes::new(host.to_bytes()),
    };
    match script_call::ask(r, script, call) {
        Ok(Answer::Granted) => sys::OK,
        Ok(Answer::Neutral) => sys::DECLINED,
        Ok(Answer::Denied) => {
            if !r.may_authenticate_instead() {
                log::request(r, log_ids::ACCESS_DENIED, || {
                    let host = host.to_string_lossy();
                    format!("`{}` denies access to {host}", path(script))
                });
            }
            403
        }
        Ok(_) => wrong_answer(r, script, 500),
        Err(status) => status,
    }
}

/// For `AuthBasicProvider wsgi`.
pub(crate) fn check_password<'r>(r: Request<'r>, user: &'r CStr, password: &'r CStr) -> i32 {
    let Some(script) = user_script(r) else {
        return sys::AUTH_GENERAL_ERROR;
    };
    let call = Call::CheckPassword {
        user: Bytes::new(user.to_bytes()),
        password: Bytes::new(password.to_bytes()),
    };
    match script_call::ask(r, script, call) {
        Ok(Answer::Granted) => sys::AUTH_GRANTED,
        Ok(Answer::GrantedAs(name)) => match script_call::text(r, &name) {
            Some(name) => {
                r.set_user(name);
                sys::AUTH_GRANTED
            }
            None => wrong_answer(r, script, sys::AUTH_GENERAL_ERROR),
        },
        Ok(Answer::Denied) => sys::AUTH_DENIED,
        Ok(Answer::Neutral) => sys::AUTH_USER_NOT_FOUND,
        Ok(_) => wrong_answer(r, script, sys::AUTH_GENERAL_ERROR),
        Err(_) => sys::AUTH_GENERAL_ERROR,
    }
}

/// For `AuthDigestProvider wsgi`; the error is httpd's word for it.
pub(crate) fn realm_hash<'r>(
    r: Request<'r>,
    user: &'r CStr,
    realm: &'r CStr,
) -> Result<&'r CStr, i32> {
    let script = user_script(r).ok_or(sys::AUTH_GENERAL_ERROR)?;
    let call = Call::RealmHash {
        user: Bytes::new(user.to_bytes()),
        realm: Bytes::new(realm.to_bytes()),
    };
    match script_call::ask(r, script, call) {
        Ok(Answer::RealmHash(hash)) if is_hash(&hash) => Ok(r.pool().string(&hash)),
        Ok(Answer::Neutral) => Err(sys::AUTH_USER_NOT_FOUND),
        Ok(_) => Err(wrong_answer(r, script, sys::AUTH_GENERAL_ERROR)),
        Err(_) => Err(sys::AUTH_GENERAL_ERROR),
    }
}

/// For `Require wsgi-group`: whether the user is in one of the groups. An error
/// is never "denied", for `Require not` makes that a reason to let him in.
pub(crate) fn check_groups(r: Request<'_>, wanted: &CStr) -> i32 {
    let Some(user) = r.user() else {
        return sys::AUTHZ_DENIED_NO_USER;
    };
    let Some(script) = &DirConfig::of(r).auth_group_script else {
        log::request(
            r,
            log_ids::NO_GROUP_SCRIPT,
            || "Require wsgi-group needs WSGIAuthGroupScript",
        );
        return sys::AUTHZ_GENERAL_ERROR;
    };
    let call = Call::GroupsForUser {
        user: Bytes::new(user.to_bytes()),
    };
    match script_call::ask(r, script, call) {
        Ok(Answer::Groups(groups)) => {
            let mut words = Words::new(wanted.to_bytes());
            while let Some(word) = words.next() {
                if groups.iter().any(|group| **group == *word.as_bytes()) {
                    return sys::AUTHZ_GRANTED;
                }
            }
            log::request(r, LogLine::INFO, || {
                format!(
                    "user `{}` is in none of the groups {}",
                    user.to_string_lossy(),
                    wanted.to_string_lossy()
                )
            });
            sys::AUTHZ_DENIED
        }
        Ok(_) => wrong_answer(r, script, sys::AUTHZ_GENERAL_ERROR),
        Err(_) => sys::AUTHZ_GENERAL_ERROR,
    }
}

fn user_script<'r>(r: Request<'r>) -> Option<&'r ScriptRef<'r>> {
    let script = DirConfig::of(r).auth_user_script.as_ref();
    if script.is_none() {
        log::request(
            r,
            log_ids::NO_USER_SCRIPT,
            || "the provider `wsgi` needs WSGIAuthUserScript",
        );
    }
    script
}

fn path<'r>(script: &ScriptRef<'r>) -> Cow<'r, str> {
    script.file.to_string_lossy()
}

/// The worker's answer belongs to another call; `result` says error to httpd.
fn wrong_answer(r: Request<'_>, script: &ScriptRef<'_>, result: i32) -> i32 {
    log::request(r, log_ids::ANSWER_WITHOUT_MEANING, || {
        format!("`{}` gave an answer that has no meaning here", path(script))
    });
    result
}

/// Hexadecimal, as long as a digest is (MD5, SHA-256).
fn is_hash(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 32 | 64) && bytes.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_hexadecimal() {
        assert!(is_hash(b"0123456789abcdef0123456789abcdef"));
        for wrong in [
            &b""[..],
            b"0123",
            b"0123456789abcdef0123456789abcdeg",
            b"0123456789abcdef0123456789abcde\0",
        ] {
            assert!(!is_hash(wrong), "{wrong:?}");
        }
    }
}
