//! The part of httpd's configuration that differs between peers.

use std::path::Path;

use anyhow::Result;

use super::{Artifacts, Peer, Plan, mod_wsgi_load_line};

/// Directives for one peer, to be put after the common part.
pub(super) fn of(peer: Peer, plan: &Plan<'_>) -> Result<String> {
    let load = |name: &str| {
        format!(
            "LoadModule {name}_module {}/mod_{name}.so\n",
            plan.environment.modules.display()
        )
    };
    let socket = plan.socket();
    let socket = socket.display();
    Ok(match peer {
        Peer::ModWsgid | Peer::Other => {
            let Artifacts { module, supervisor } = peer.artifacts(plan.environment)?;
            // The directory of the server is the account's, and root puts no socket there.
            let sockets = plan
                .directory
                .parent()
                .unwrap_or(&plan.directory)
                .join("wsgid");
            format!(
                "LoadModule wsgi_module {}\nWSGISupervisorExecutable {}\nWSGISocketPrefix {}\n",
                module.display(),
                supervisor.display(),
                sockets.display()
            ) + &wsgi(plan)
        }
        Peer::Floor => {
            let Artifacts { module, .. } = peer.artifacts(plan.environment)?;
            format!(
                "LoadModule wsgi_module {}\nWSGIDaemonSocket {socket}\n",
                module.display()
            ) + &wsgi(plan)
        }
        Peer::ModWsgi => {
            let load = mod_wsgi_load_line(plan.environment)?;
            format!(
                "{load}\nWSGISocketPrefix {}/wsgi\n{}",
                plan.directory.display(),
                wsgi(plan)
            )
        }
        Peer::Uwsgi => {
            load("proxy")
                + &load("proxy_uwsgi")
                + &format!("ProxyPass \"/\" \"unix:{socket}|uwsgi://localhost/\"\n")
        }
        // Gunicorn's worker with one thread closes every connection: nothing can be used again.
        Peer::Gunicorn if plan.shape.threads == 1 => proxy_http(&load, &socket, "disablereuse=on"),
        Peer::Gunicorn => proxy_http(&load, &socket, "enablereuse=on ttl=30"),
        Peer::Granian => proxy_http(&load, &socket, "enablereuse=on"),
        Peer::Limit => {
            let module = plan.environment.build_limit()?;
            format!(
                "LoadModule bench_limit_module {}\n<Location />\nSetHandler bench-limit\nRequire all granted\n</Location>\n",
                module.display()
            )
        }
        Peer::Static => {
            let files = plan.environment.files();
            open(&files)
        }
    })
}

fn proxy_http(
    load: &impl Fn(&str) -> String,
    socket: &dyn std::fmt::Display,
    reuse: &str,
) -> String {
    load("proxy")
        + &load("proxy_http")
        + &format!("ProxyPass \"/\" \"unix:{socket}|http://localhost/\" {reuse}\n")
}

/// What mod_wsgi and mod_wsgid read alike.
fn wsgi(plan: &Plan<'_>) -> String {
    let account = if plan.environment.account.changes {
        format!(" user={}", plan.environment.account.name)
    } else {
        String::new()
    };
    format!(
        "WSGIDaemonProcess bench{account} processes={} threads={} python-home={} display-name=%{{GROUP}}\n\
         WSGIProcessGroup bench\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIEnableSendfile On\n\
         WSGIScriptAlias / {}\n{}",
        plan.shape.processes,
        plan.shape.threads,
        plan.environment.venv().display(),
        plan.script().display(),
        open(&plan.environment.apps())
    )
}

fn open(directory: &Path) -> String {
    format!(
        "<Directory \"{}\">\nRequire all granted\nAllowOverride None\n</Directory>\n",
        directory.display()
    )
}
