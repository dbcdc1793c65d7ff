//! Directives about single requests and about access.

use crate::configuration::config::MapHead;
use crate::configuration::networks::TrustedNetwork;
use crate::configuration::settings::{self, Subject};
use crate::configuration::words::Words;
use crate::directives::context::{Applied, Context};
use crate::directives::mapping::script_ref;
use crate::request::environ::variable_byte;
use crate::request::proxies;

/// Directives that are one value of a section, each with what reads it.
macro_rules! values {
    ($($read:path { $($name:ident)* })*) => {
        $($(pub(super) fn $name(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
            cx.dir.$name = Some($read(cx, words)?);
            Ok(())
        })*)*
    };
}

values! {
    switch {
        pass_authorization script_reloading chunked_request error_override ignore_activity enable_sendfile
    }
    script_ref { dispatch_script access_script auth_user_script auth_group_script }
}

fn switch(_: &Context<'_, '_>, words: &mut Words<'_>) -> Result<bool, String> {
    words.switch()
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
    let named: Vec<String> = std::iter::from_fn(|| words.next()).collect();
    if named.is_empty() {
        return names_nothing(cx);
    }
    for word in named {
        let name = cx.pool.mapped(b"HTTP_", word.as_bytes(), variable_byte);
        let name = cx.pool.string(name);
        if !proxies::is_known(&name.to_string_lossy()) {
            let known = proxies::known_headers().join(", ");
            let name = cx.name;
            let text = format!("{name}: `{word}` is not among {known}: it has no effect");
            settings::remark(&cx.origin, text);
        }
        cx.dir.trusted_headers = cx.append(cx.dir.trusted_headers, name);
    }
    cx.note(Subject::ProxyHeaders);
    Ok(())
}

fn names_nothing(cx: &Context<'_, '_>) -> Applied {
    settings::remark(&cx.origin, format!("{} names nothing", cx.name));
    Ok(())
}

pub(super) fn trusted_proxies(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let named: Vec<String> = std::iter::from_fn(|| words.next()).collect();
    if named.is_empty() {
        // Then nobody is trusted.
        cx.dir.trusted_proxies = cx.dir.trusted_proxies.or(Some(&[]));
        return names_nothing(cx);
    }
    for word in named {
        let network = TrustedNetwork::parse(&word).ok_or_else(|| {
            format!("`{word}` is neither an address nor a network such as 10.0.0.0/8")
        })?;
        cx.dir.trusted_proxies = cx.append(cx.dir.trusted_proxies, network);
    }
    cx.note(Subject::Proxies);
    Ok(())
}
