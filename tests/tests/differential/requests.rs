//! What `differential` asks both servers: requests with odd lines and fields,
//! requests that came through proxies, and responses to be given.

use serde_json::{Value, json};

/// Requests whose environ is compared.
pub(crate) fn requests() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let paths = [
        "/app",
        "/app/",
        "/app/a/b",
        "/app//a///b",
        "//app/a",
        "/app/a%20b",
        "/app/%C3%A4/%E4",
        "/app/a%2Bb+c",
        "/app/a;p=1",
        "/app/./a/../b",
        "/app?",
        "/app?q",
        "/app?a=1&b=%20&c=%C3%A4",
        "/app/?%zz",
        "/app/a?b?c#d",
        "/deep/er/x",
        "/deep/er",
        "/match/direct",
        "/match/direct/more",
        "/files/direct.wsgi",
        "/files/direct.wsgi/x/y?z",
        "/rewritten/a/b?c=d",
        "/nowhere",
        "/nowhere?a=b",
        "/env/x",
        "/tls/x",
        "/app/a%2Fb",
        "/app/%00",
        "/application",
        "/app/~x/'\"<>",
    ];
    for path in paths {
        all.push((
            path.to_owned(),
            format!("GET {path} HTTP/1.1\r\nHost: localhost:PORT\r\nConnection: close\r\n\r\n"),
        ));
    }
    for method in ["HEAD", "OPTIONS", "DELETE", "PROPFIND", "BREW", "PATCH"] {
        all.push((
            method.to_owned(),
            format!("{method} /app/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        ));
    }
    for (method, mount) in [("HEAD", "mapped"), ("GET", "mapped")] {
        all.push((
            format!("{method} {mount}"),
            format!("{method} /{mount}/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        ));
    }
    let fields = [
        "X-One: 1\r\nX-One: 2",
        "Cookie: a=1\r\nCookie: b=2",
        "X_Under: 1\r\nX-Under: 2",
        "X.Dot: 1",
        "X-Ünï: 1",
        "Proxy: evil",
        "X-Empty:",
        "X-Latin: caf\u{e9}",
        "Authorization: Basic YTpi",
        "Proxy-Authorization: Basic YTpi",
        "Content-Type: text/x",
        "Content-Length: 0",
        "Range: bytes=0-3",
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "Expect: nothing",
        "TE: trailers",
        "Upgrade: x",
        "Accept-Encoding: gzip, br",
        "X-Forwarded-For: 1.2.3.4",
        "HTTPS: on",
        "X-Set: seen",
        "Content-MD5: x",
        "Keep-Alive: 5",
        "Transfer-Encoding: gzip",
        "User-Agent: a\r\nReferer: b\r\nAccept: */*\r\nAccept-Language: de",
        "X-Long: LONG",
    ];
    for field in fields {
        let field_line = field.replace("LONG", &"y".repeat(7000));
        for mount in ["app", "env"] {
            all.push((
                format!("{mount} {field}"),
                format!("GET /{mount}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{field_line}\r\n\r\n"),
            ));
        }
    }
    let others = [
        ("HTTP/1.0", "GET /app/x HTTP/1.0\r\n\r\n"),
        (
            "absolute",
            "GET http://other.example/app/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ),
        (
            "Host with a port",
            "GET /app/x HTTP/1.1\r\nHost: other.example:99\r\nConnection: close\r\n\r\n",
        ),
        (
            "passed authorization",
            "GET /auth/x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n",
        ),
        (
            "a user",
            "GET /basic/x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWxpY2U6dGVzdDI=\r\nConnection: close\r\n\r\n",
        ),
        (
            "no user",
            "GET /basic/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ),
        (
            "POST",
            "POST /app/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/y\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        ),
        (
            "PUT",
            "PUT /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        (
            "chunked",
            "POST /chunked/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "expecting",
            "POST /app/x HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc",
        ),
    ];
    all.extend(others.map(|(name, request)| (name.to_owned(), request.to_owned())));
    all
}

/// Requests that came through a proxy, trusted or not.
pub(crate) fn forwarded() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let forwarded = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1",
        "X-Forwarded-For: , ,",
        "X-Forwarded-Host: outside.example:81",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: HTTPS",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 8443",
        "X-Script-Name: /mounted",
        "X-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4",
        "X-Forwarded-SSL: on",
        "X-Client-IP: 9.9.9.9",
        "X-Forwarded-Server: s",
    ];
    let forwarded = forwarded.into_iter().map(str::to_owned);
    for field in forwarded.chain(schemes()) {
        for mount in ["app", "proxied", "secured", "untrusted"] {
            all.push((
                format!("{mount} {field}"),
                format!(
                    "GET /{mount}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{field}\r\n\r\n"
                ),
            ));
        }
    }
    for (headers, spellings) in SAID {
        for header in *headers {
            for spelling in *spellings {
                all.push((
                    format!("said {header}: {spelling}"),
                    format!(
                        "GET /proxied/x HTTP/1.1\r\nHost: h:99\r\nConnection: close\r\n{header}: {spelling}\r\n\r\n"
                    ),
                ));
            }
        }
    }
    all
}

/// What the other headers may say: who the client is, what it asked whom for, and where.
const SAID: &[(&[&str], &[&str])] = &[
    (
        &["X-Forwarded-For", "X-Client-IP", "X-Real-IP"],
        &[
            "1.2.3.4",
            "  1.2.3.4  ",
            "2001:db8::1",
            "::ffff:1.2.3.4",
            "127.0.0.1",
            "1.2.3.4:55",
            "[2001:db8::1]:80",
            "unknown",
            "1.2.3.4, 5.6.7.8",
            "1.2.3.4,10.1.1.1",
            "127.0.0.1, 1.2.3.4",
            "1.2.3.4,,127.0.0.1",
        ],
    ),
    (
        &["X-Forwarded-Host", "X-Host", "X-Forwarded-Server"],
        &[
            "outside.example",
            "UP.Example:81",
            "a, b",
            "a,b",
            "[::1]:80",
            "",
        ],
    ),
    (
        &["X-Forwarded-Port"],
        &[
            "8443", "80", " 8443 ", "0443", "+80", "0", "65536", "8443, 80", "8443x", "",
        ],
    ),
    (
        &["X-Script-Name", "X-Forwarded-Script-Name"],
        &["/m", "m", "/m/", "/", "//m", "/a, /b", "/m?x", ""],
    ),
];

/// Each header that says how the client came, in each spelling.
fn schemes() -> impl Iterator<Item = String> {
    const HEADERS: [&str; 6] = [
        "X-Forwarded-Proto",
        "X-Forwarded-Scheme",
        "X-Scheme",
        "X-Forwarded-SSL",
        "X-Forwarded-HTTPS",
        "X-HTTPS",
    ];
    const SPELLINGS: [&str; 20] = [
        "https",
        "HTTPS",
        "Https",
        "http",
        "HTTP",
        "on",
        "On",
        "ON",
        "true",
        "True",
        "TRUE",
        "1",
        "off",
        "Off",
        "false",
        "False",
        "0",
        "yes",
        "",
        "https, http",
    ];
    HEADERS.into_iter().flat_map(|header| {
        SPELLINGS
            .into_iter()
            .map(move |spelling| format!("{header}: {spelling}"))
    })
}

/// Responses whose bytes are compared.
pub(crate) fn responses() -> Vec<Value> {
    let mut all: Vec<Value> = [
        "200 OK",
        "200 Fine",
        "200",
        "200 ",
        "299",
        "404",
        "599",
        "201 Made",
        "204 None",
        "206 Part",
        "299 Odd",
        "301 Moved",
        "304 Same",
        "400 Bad",
        "401 Who",
        "403 No",
        "404 Lost",
        "405 How",
        "418 Pot",
        "451 Law",
        "499 Own",
        "500 Own",
        "502 Own",
        "503 Own",
        "599 Own",
    ]
    .into_iter()
    .map(|status| json!({"status": status, "body": ["a body"]}))
    .collect();
    all.extend([
        json!({"headers": []}),
        json!({"headers": [["Content-Type", "TEXT/HTML; Charset=X"]]}),
        json!({"headers": [["Content-Length", "5"]]}),
        json!({"headers": [["Content-Length", "3"]]}),
        json!({"headers": [["Content-Length", "3"]], "body": ["a", "b", "c", "d"], "generator": true}),
        json!({"headers": [["Content-Encoding", "x"], ["Content-Language", "de"]]}),
        json!({"headers": [["Set-Cookie", "a"], ["Set-Cookie", "b"], ["X", "1"], ["X", "2"]]}),
        json!({"headers": [["Vary", "a"], ["Vary", "b"], ["Cache-Control", "no-cache"], ["ETag", "\"x\""]]}),
        json!({"headers": [["Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"], ["Expires", "0"]]}),
        json!({"headers": [["Location", "http://example.org/x"]], "status": "302 Found"}),
        json!({"headers": [["Location", "/app/inside?x=y"]]}),
        json!({"headers": [["Location", "/app/x"]], "status": "302 Found"}),
        json!({"headers": [["WWW-Authenticate", "A"], ["WWW-Authenticate", "B"]], "status": "401 Who"}),
        json!({"headers": [["X", "caf\u{e9}"], ["Y", ""], ["Z", " padded "]]}),
        json!({"headers": [["Date", "x"], ["Server", "y"], ["Connection", "close"]]}),
        json!({"body": []}),
        json!({"body": [""]}),
        json!({"body": ["", "a", "", "b"], "generator": true}),
        json!({"body": ["a", "b"]}),
        json!({"body": ["x".repeat(5000)]}),
        json!({"body": ["x".repeat(20000)], "generator": true}),
    ]);
    all
}
