//! Lists of addresses and networks.

use mindweave_proxy::IpRange;

use super::setting::Setting;

/// Networks in CIDR notation; a single address is a network of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpRange>);

impl Setting for Networks {
    fn allowed() -> String {
        "IP addresses or networks with commas between them, for example `10.0.0.0/8, ::1`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        text.split(',').map(|network| network.trim().parse().ok()).collect::<Option<_>>().map(Self)
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let networks = Networks::read("10.0.0.0/8, ::1,192.168.1.7 , 2001:db8::/32").unwrap();
        let shown: Vec<String> = networks.0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128", "192.168.1.7/32", "2001:db8::/32"]);
        for text in ["", ",", "10.0.0.0/33", "lb.internal", "1.2.3.4,", "1.2.3.4 5.6.7.8"] {
            assert_eq!(Networks::read(text), None, "{text}");
        }
    }
}
