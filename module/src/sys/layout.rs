//! Compares the bindings with the headers of the installed httpd: a generated C
//! program prints every offset, size and constant that is used here; `nm` says
//! whether every imported function exists. Without headers it is skipped.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A C expression, and the number that it must be by the headers.
type Fact = (String, i64);

/// Offsets of fields; `field = "name"` where the C name differs.
macro_rules! fields {
    ($facts:ident, $kind:ty as $c_kind:literal: $($field:ident $(= $c_field:literal)?),* $(,)?) => {
        $(
            let c_field = stringify!($field);
            $(let c_field = { let _ = c_field; $c_field };)?
            $facts.push((format!("offsetof({}, {})", $c_kind, c_field), offset_of!($kind, $field) as i64));
        )*
    };
}

/// Sizes of structures that are declared as a whole.
macro_rules! sizes {
    ($facts:ident: $($kind:ty as $c_kind:literal),* $(,)?) => {
        $($facts.push((format!("sizeof({})", $c_kind), size_of::<$kind>() as i64));)*
    };
}

fn request_facts(facts: &mut Vec<Fact>) {
    fields!(facts, request_rec as "request_rec": pool, connection, server, prev, main, the_request, header_only,
        proto_num, protocol, hostname, request_time, status_line, status, method_number, method, chunked,
        expecting_100, headers_in, headers_out, err_headers_out, subprocess_env, notes, content_type, handler,
        content_encoding, content_languages, user, ap_auth_type, unparsed_uri, uri, filename, path_info, args,
        used_path_info, per_dir_config, request_config, log_id, htaccess, output_filters, input_filters, no_cache, finfo,
        useragent_addr, useragent_ip);
    fields!(facts, htaccess_result as "struct htaccess_result": htaccess, next);
    fields!(facts, conn_rec as "conn_rec": local_addr, local_ip, bucket_alloc, aborted, keepalive, log_id, master);
    fields!(facts, server_rec as "server_rec": process, next, error_fname, error_log, module_config, lookup_defaults,
        defn_name, defn_line_number, is_virtual, server_admin, server_hostname, timeout, names);
    fields!(facts, process_rec as "process_rec": pconf);
    fields!(facts, ap_filter_t as "ap_filter_t": frec, ctx, next);
    fields!(facts, ap_filter_rec_t as "ap_filter_rec_t": ftype);
    fields!(facts, ap_bucket_error as "ap_bucket_error": status);
    fields!(facts, unixd_config_rec as "unixd_config_rec": user_name, group_name, user_id, group_id);
    fields!(facts, authn_provider as "authn_provider": check_password, get_realm_hash);
    fields!(facts, authz_provider as "authz_provider": check_authorization, parse_require_line);
    sizes!(facts: authn_provider as "authn_provider", authz_provider as "authz_provider",
        ap_regmatch_t as "ap_regmatch_t", ap_version_t as "ap_version_t");
}

fn apr_facts(facts: &mut Vec<Fact>) {
    fields!(facts, apr_array_header_t as "apr_array_header_t": nelts, elts);
    fields!(facts, apr_table_entry_t as "apr_table_entry_t": key, val, key_checksum);
    fields!(facts, apr_finfo_t as "apr_finfo_t": filetype);
    fields!(facts, apr_sockaddr_t as "apr_sockaddr_t": port);
    fields!(facts, apr_proc_t as "apr_proc_t": pid, stdin = "in", stdout = "out", stderr = "err");
    fields!(facts, apr_bucket as "apr_bucket": link, kind = "type", data);
    fields!(facts, apr_bucket_type_t as "apr_bucket_type_t": name, num_func, is_metadata, destroy, read);
    fields!(facts, apr_bucket_brigade as "apr_bucket_brigade": list, bucket_alloc);
    sizes!(facts: apr_table_entry_t as "apr_table_entry_t", apr_finfo_t as "apr_finfo_t",
        apr_proc_t as "apr_proc_t", apr_status_t as "apr_status_t", apr_off_t as "apr_off_t",
        apr_time_t as "apr_time_t", apr_port_t as "apr_port_t");
}

fn config_facts(facts: &mut Vec<Fact>) {
    fields!(facts, module as "module": version, minor_version, module_index, name, dynamic_load_handle, next, magic,
        rewrite_args, create_dir_config, merge_dir_config, create_server_config, merge_server_config, cmds,
        register_hooks, flags);
    fields!(facts, command_rec as "command_rec": name, func, cmd_data, req_override, args_how, errmsg);
    fields!(facts, cmd_parms as "cmd_parms": directive, pool, temp_pool, server, path, cmd, context);
    fields!(facts, ap_directive_t as "ap_directive_t": directive, args, next, first_child, filename, line_num);
    sizes!(facts: module as "module", command_rec as "command_rec");
    let more = [
        (
            "offsetof(apr_bucket, link.prev)",
            offset_of!(ring_link, prev) as i64,
        ),
        (
            "offsetof(core_dir_config, cgi_var_rules)",
            CORE_CGI_VAR_RULES as i64,
        ),
        ("MODULE_MAGIC_COOKIE", MODULE_MAGIC_COOKIE as i64),
        (
            "MODULE_MAGIC_NUMBER_MAJOR",
            MODULE_MAGIC_NUMBER_MAJOR.into(),
        ),
    ];
    let constants = CONSTANTS.iter().chain(&more);
    facts.extend(constants.map(|(name, value)| ((*name).to_owned(), *value)));
}

/// Bit-fields have no offset: the program sets one and looks where the bits are.
const BITS: [(&str, &str, CoreBits); 2] = [
    (
        "enable_sendfile",
        "ENABLE_SENDFILE_ON",
        CORE_ENABLE_SENDFILE,
    ),
    ("cgi_pass_auth", "AP_CGI_PASS_AUTH_ON", CORE_CGI_PASS_AUTH),
];

fn program(facts: &[Fact]) -> String {
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n\
         #include \"httpd.h\"\n#include \"http_config.h\"\n#include \"http_core.h\"\n#include \"http_log.h\"\n#include \"http_protocol.h\"\n\
         #include \"http_request.h\"\n#include \"ap_expr.h\"\n#include \"mod_auth.h\"\n#include \"mod_status.h\"\n\
         #include \"ap_mpm.h\"\n#include \"ap_regex.h\"\n#include \"unixd.h\"\n#include \"util_filter.h\"\n\
         #include \"util_cfgtree.h\"\n#include \"apr_buckets.h\"\n#include \"apr_thread_proc.h\"\n#include \"apr_hooks.h\"\n\
         int main(void) {\n",
    );
    for (expression, _) in facts {
        let _ = writeln!(text, "printf(\"%lld\\n\", (long long)({expression}));");
    }
    for (field, on, bits) in BITS {
        let _ = writeln!(
            text,
            "{{ core_dir_config c; memset(&c, 0, sizeof c); c.{field} = {on};\n\
             printf(\"%d\\n\", ((unsigned char *)&c)[{}]); c.{field} = 3; printf(\"%d\\n\", ((unsigned char *)&c)[{}]); }}",
            bits.byte, bits.byte
        );
    }
    text.push_str("return 0; }\n");
    text
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn ask_apxs(what: &str) -> Option<String> {
    ["apxs", "apxs2", "/usr/bin/apxs", "/usr/sbin/apxs"]
        .iter()
        .find_map(|apxs| output(Command::new(apxs).args(["-q", what])))
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(why: &str) {
    eprintln!("skipped: {why}; install httpd's development package (apache2-dev or httpd-devel)");
}

#[test]
fn offsets_sizes_and_constants_are_those_of_the_headers() {
    let Some(httpd) =
        ask_apxs("INCLUDEDIR").filter(|path| Path::new(path).join("httpd.h").exists())
    else {
        return skip("httpd's headers are not installed");
    };
    let apr = ask_apxs("APR_INCLUDEDIR").unwrap();
    let apu = ask_apxs("APU_INCLUDEDIR").unwrap_or_else(|| apr.clone());
    let flags = ask_apxs("EXTRA_CPPFLAGS").unwrap_or_default();
    let mut facts = Vec::new();
    request_facts(&mut facts);
    apr_facts(&mut facts);
    config_facts(&mut facts);

    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("layout.c");
    let binary = directory.path().join("layout");
    std::fs::write(&source, program(&facts)).unwrap();
    let compiled = Command::new("cc")
        .args(flags.split_whitespace())
        .args(["-I", &httpd, "-I", &apr, "-I", &apu, "-o"])
        .args([&binary, &source])
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let printed = output(&mut Command::new(&binary)).unwrap();
    let mut numbers = printed.lines().map(|line| line.parse::<i64>().unwrap());
    for (expression, expected) in facts {
        assert_eq!(numbers.next(), Some(expected), "{expression}");
    }
    for (field, _, bits) in BITS {
        assert_eq!(numbers.next(), Some(bits.on.into()), "{field} is On");
        assert_eq!(
            numbers.next(),
            Some(bits.mask.into()),
            "{field} has these bits"
        );
    }
    assert_eq!(numbers.next(), None);
}

fn installed_server() -> Option<PathBuf> {
    ["/usr/sbin/apache2", "/usr/sbin/httpd"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

#[test]
fn every_import_exists_in_the_server() {
    let Some(server) = installed_server() else {
        return skip("httpd is not installed");
    };
    let libraries = output(Command::new("ldd").arg(&server)).unwrap();
    let apr = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/') && word.contains("libapr"));
    let mut symbols = String::new();
    for object in apr.map(PathBuf::from).chain([server.clone()]) {
        let Some(names) = output(
            Command::new("nm")
                .args(["-D", "--defined-only"])
                .arg(&object),
        ) else {
            return skip("nm is not installed");
        };
        symbols.push_str(&names);
        symbols.push('\n');
    }
    let names: std::collections::HashSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let others = [
        "ap_server_conf",
        "ap_conftree",
        "ap_server_root",
        "ap_unixd_config",
        "ap_http_header_filter_handle",
        "ap_byterange_filter_handle",
        "apr_bucket_type_eos",
        "apr_bucket_type_file",
        "ap_bucket_type_error",
        "ap_log_rerror_",
        "ap_log_error_",
    ];
    let functions = [
        apr::IMPORTS,
        bucket::IMPORTS,
        config::IMPORTS,
        core::IMPORTS,
    ]
    .concat();
    for name in functions.iter().chain(&others) {
        assert!(
            names.contains(name),
            "{name} does not exist in {}",
            server.display()
        );
    }
}
