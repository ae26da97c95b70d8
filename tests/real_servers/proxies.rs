//! Tests with tinyproxy (HTTP) and microsocks (SOCKS5) in front of the mock, with and without a
//! password.

use kerb_stream::{Environment, ErrorKind, GenerationConfig, Proxy};

use super::{LIMIT, ask, config, server, watchdog};

const COUNT: (&str, &str) = ("please count", "Cut by the limit");

/// Returns the mock in plain HTTP and over TLS. The proxy is set in the configuration, because only
/// then it is also used for addresses of this machine.
fn targets() -> [GenerationConfig; 3] {
    let port: u16 = server("KERB_STREAM_NGINX").parse().expect("a port");
    [
        config(server("KERB_STREAM_AIMOCK") + "/v1"),
        config(format!("https://127.0.0.1:{}/v1", port + 1)).ca_file(server("KERB_STREAM_CA")),
        // The proxy has to resolve this name.
        config(format!("https://localhost:{}/v1", port + 2)).ca_file(server("KERB_STREAM_CA")),
    ]
}

fn url(scheme: &str, user: &str, variable: &str) -> Proxy {
    Proxy::Url(format!("{scheme}://{user}{}", server(variable)))
}

#[test]
#[ignore = "needs tinyproxy and microsocks at $KERB_STREAM_TINYPROXY, $KERB_STREAM_MICROSOCKS, …_AUTH"]
fn an_answer_comes_through_a_proxy() {
    watchdog(LIMIT, || {
        for proxy in [
            url("http", "", "KERB_STREAM_TINYPROXY"),
            url("http", "user:secret@", "KERB_STREAM_TINYPROXY_AUTH"),
            url("socks5", "", "KERB_STREAM_MICROSOCKS"),
            url("socks5", "user:secret@", "KERB_STREAM_MICROSOCKS_AUTH"),
        ] {
            for target in targets() {
                let target = target.proxy(proxy.clone());
                // The second request uses the connection of the first if it was kept open.
                for _ in 0..2 {
                    let run = ask(COUNT.0, &target);
                    assert!(run.error.is_none(), "{target:?}: {}", run.message());
                    assert_eq!(run.response.content, COUNT.1, "{target:?}");
                }
            }
        }
    });
}

#[test]
#[ignore = "needs tinyproxy and microsocks at $KERB_STREAM_TINYPROXY, $KERB_STREAM_MICROSOCKS, …_AUTH"]
fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    watchdog(LIMIT, || {
        let login = "requires a valid user name and password";
        let mut wrong = Vec::new();
        for (proxy, retryable, says) in [
            (url("http", "", "KERB_STREAM_TINYPROXY_AUTH"), false, "407"),
            (url("http", "user:hunter2@", "KERB_STREAM_TINYPROXY_AUTH"), false, login),
            (url("socks5", "", "KERB_STREAM_MICROSOCKS_AUTH"), false, login),
            (url("socks5", "user:hunter2@", "KERB_STREAM_MICROSOCKS_AUTH"), false, login),
            (Proxy::Url("http://127.0.0.1:1".into()), true, "proxy 127.0.0.1:1 refused"),
            (Proxy::Url("socks5://127.0.0.1:1".into()), true, "proxy 127.0.0.1:1 refused"),
        ] {
            for target in targets() {
                let target = target.proxy(proxy.clone());
                let run = ask(COUNT.0, &target);
                let error = run.failure();
                let shown = run.message();
                assert!(!format!("{shown} {error:?} {target:?}").contains("hunter2"), "{shown}");
                let seen = (error.kind(), error.is_retryable());
                if seen != (ErrorKind::Network, retryable) || !shown.contains(says) {
                    wrong.push(format!("{target:?}: {seen:?} {shown}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
#[ignore = "needs tinyproxy and microsocks at $KERB_STREAM_TINYPROXY, $KERB_STREAM_MICROSOCKS"]
fn a_server_that_the_proxy_cannot_reach_is_an_error() {
    watchdog(LIMIT, || {
        let nobody = config("http://127.0.0.1:1/v1");
        for proxy in
            [url("http", "", "KERB_STREAM_TINYPROXY"), url("socks5", "", "KERB_STREAM_MICROSOCKS")]
        {
            let run = ask(COUNT.0, &nobody.clone().proxy(proxy));
            assert_eq!(run.failure().kind(), ErrorKind::Network, "{:?}", run.failure());
            let shown = run.message();
            assert!(shown.contains("proxy") && shown.contains("127.0.0.1:1"), "{shown}");
        }
    });
}

#[test]
#[ignore = "needs aimock at $KERB_STREAM_AIMOCK"]
fn this_machine_is_not_reached_through_the_environments_proxy() {
    watchdog(LIMIT, || {
        let names = ["http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"];
        let dead = Environment::from_iter(names.map(|name| (name, "http://127.0.0.1:1")));
        for target in targets() {
            assert_eq!(ask(COUNT.0, &target.environment(dead.clone())).whole().content, COUNT.1);
        }
    });
}
