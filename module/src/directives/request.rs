//! Directives about single requests and about access.

use crate::configuration::config::MapHead;
use crate::configuration::networks::TrustedNetwork;
use crate::configuration::settings::{self, Subject};
use crate::configuration::words::Words;
use crate::directives::context::{Applied, Context};
use crate::directives::mapping::script_ref;
use crate::request::proxies;

/// Directives that are one switch of a section.
macro_rules! switches {
    ($($name:ident)*) => {
        $(pub(super) fn $name(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
            cx.dir.$name = Some(words.switch()?);
            Ok(())
        })*
    };
}

switches! {
    pass_authorization script_reloading chunked_request error_override ignore_activity enable_sendfile
}

pub(super) fn map_head_to_get(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let word = words.need("On, Off or Auto")?;
    cx.dir.map_head_to_get = Some(match word.to_ascii_lowercase().as_str() {
        "on" => MapHead::On,
        "off" => MapHead::Off,
        "auto" => MapHead::Auto,
        _ => return Err(format!("`{word}` is none of On, Off and Auto")),
    });
    Ok(())
}

/// The headers that can be trusted; see `proxies.rs`.
pub(super) fn trusted_proxy_headers(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    for word in words.rest("the name of a header")? {
        if !word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(format!("`{word}` is not the name of a header"));
        }
        let name = cx.pool.mapped(
            b"HTTP_",
            word.as_bytes(),
            crate::request::environ::variable_byte,
        );
        let name = cx.pool.string(name);
        if !proxies::is_known(&name.to_string_lossy()) {
            let known = proxies::known_headers().join(", ");
            settings::remark(
                &cx.origin,
                format!(
                    "{}: `{word}` is not among {known}: it has no effect",
                    cx.name
                ),
            );
        }
        cx.dir.trusted_headers = Some(
            cx.pool
                .concat(cx.dir.trusted_headers.unwrap_or_default(), &[name]),
        );
    }
    cx.note(Subject::ProxyHeaders);
    Ok(())
}

pub(super) fn trusted_proxies(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    for word in words.rest("an address or network")? {
        let network = TrustedNetwork::parse(&word).ok_or_else(|| {
            format!("`{word}` is neither an address nor a network such as 10.0.0.0/8")
        })?;
        cx.dir.trusted_proxies = Some(
            cx.pool
                .concat(cx.dir.trusted_proxies.unwrap_or_default(), &[network]),
        );
    }
    cx.note(Subject::Proxies);
    Ok(())
}

pub(super) fn access_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    cx.dir.access_script = Some(script_ref(cx, words)?);
    Ok(())
}

pub(super) fn auth_user_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    cx.dir.auth_user_script = Some(script_ref(cx, words)?);
    Ok(())
}

pub(super) fn auth_group_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    cx.dir.auth_group_script = Some(script_ref(cx, words)?);
    Ok(())
}
