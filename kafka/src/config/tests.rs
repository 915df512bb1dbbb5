use super::*;

fn login(password: Password) -> Option<Sasl> {
    Some(Sasl { mechanism: SaslMechanism::ScramSha512, username: "me".to_owned(), password })
}

#[test]
fn what_protects_the_way_follows_from_what_is_configured() {
    let tls = || Some(Tls::default());
    let sasl = || login(Password::Text("p".to_owned()));
    for (tls, sasl, protocol) in [
        (None, None, "plaintext"),
        (tls(), None, "ssl"),
        (None, sasl(), "sasl_plaintext"),
        (tls(), sasl(), "sasl_ssl"),
    ] {
        let client = KafkaConfig { tls, sasl, ..KafkaConfig::new("a:1") }.client().unwrap();
        assert_eq!(client.get("security.protocol"), Some(protocol));
    }
}

#[test]
fn a_password_is_read_from_its_file_each_time_and_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let config = KafkaConfig { sasl: login(Password::File(file.clone())), ..KafkaConfig::new("a:1") };
    for (text, password) in [("s3cret\n", "s3cret"), ("newer", "newer")] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(config.client().unwrap().get("sasl.password"), Some(password));
    }
    std::fs::write(&file, " \n").unwrap();
    assert!(config.client().unwrap_err().to_string().contains("it is empty"));
    std::fs::remove_file(&file).unwrap();
    assert!(config.client().unwrap_err().to_string().contains(&format!("cannot read {}", file.display())));
}

#[test]
fn no_secret_is_in_debug_output_or_in_errors() {
    let config = KafkaConfig { sasl: login(Password::Text("s3cret".to_owned())), ..KafkaConfig::new("a:1") };
    let client = config.client().unwrap();
    assert_eq!(client.get("sasl.password"), Some("s3cret"));
    assert!(!format!("{config:?} {client:?}").contains("s3cret"));
    let broken = client.clone().set("sasl.password", "s3\0cret").create_native_config();
    let error = KafkaError::from(broken.err().unwrap());
    assert!(!format!("{error} {error:?}").contains("cret"), "{error}");
    let mut client = client;
    let wrong = client.set("enable.idempotence", "s3cret").create_native_config();
    let error = KafkaError::from(wrong.err().unwrap());
    assert!(error.to_string().contains("enable.idempotence"), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}
