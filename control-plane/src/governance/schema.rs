//! What the words of governance look like in the description of the API. Their types live where proxies are, which know nothing of it;
//! a test holds the words to be the same.

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Whom a policy, a limit or a budget is about: an object of one entry. `"*"` in place of an id counts each one separately.
pub(super) struct Scope;

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        one_entry(
            &["org", "team", "user", "project", "key"],
            "Whom a limit or a budget is about: an object of one entry. `\"*\"` in place of an id counts each one separately.",
        )
    }
}

impl ToSchema for Scope {}

/// Whom a policy is about.
pub(super) struct PolicyScope;

impl PartialSchema for PolicyScope {
    fn schema() -> RefOr<Schema> {
        one_entry(&["org", "team", "project"], "Whom a policy is about: an object of one entry.")
    }
}

impl ToSchema for PolicyScope {}

/// Most characters of an id, as the API takes them.
const MAX_ID_CHARS: usize = 200;

fn one_entry(kinds: &[&str], description: &str) -> RefOr<Schema> {
    let id = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(1))
        .max_length(Some(MAX_ID_CHARS))
        .build();
    let object = kinds
        .iter()
        .fold(ObjectBuilder::new(), |object, kind| object.property(*kind, id.clone()))
        .schema_type(SchemaType::Type(Type::Object))
        .min_properties(Some(1))
        .max_properties(Some(1))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        .description(Some(description));
    object.into()
}

/// Which models a limit or a budget is about: an id, or the beginning of ids and a `*`.
pub(super) struct ModelWord;

impl PartialSchema for ModelWord {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .min_length(Some(1))
            .max_length(Some(MAX_ID_CHARS))
            .pattern(Some(r"^([!-)+-@\[-~]+\*?|\*)$"))
            .description(Some("An id in small letters, or the beginning of ids and a `*`."));
        word.into()
    }
}

impl ToSchema for ModelWord {}

/// A share of a budget, in percent.
pub(super) struct ThresholdWord;

impl PartialSchema for ThresholdWord {
    fn schema() -> RefOr<Schema> {
        let percent = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .minimum(Some(1))
            .maximum(Some(200));
        percent.into()
    }
}

impl ToSchema for ThresholdWord {}

/// Makes an enum for the description of words that another crate has.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident),+ })+) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(dead_code, reason = "describes words of another crate")]
        pub(super) enum $name { $($word),+ })+
    };
}

words! {
    /// What a rate limit counts. Tokens of requests are input without cache reads.
    LimitMetricWord { RequestsPerMinute, InputTokensPerMinute, OutputTokensPerMinute, TokensPerMinute, ConcurrentRequests }
    /// What a budget counts. `cost` is in nano-dollars.
    QuotaUnitWord { Requests, Tokens, Cost }
    /// Over which calendar period, in the organisation's time zone.
    QuotaWindowWord { Minute, Hour, Day, Week, Month }
    /// What happens at the limit.
    QuotaActionWord { Block, Warn }
    /// How much of a budget an open request holds.
    ReserveWord { Max, Expected }
    /// What no usable result, or no known price, means.
    OnErrorWord { Deny, Allow }
    /// What a proxy does whose figures are old.
    OnStaleWord { Open, Closed, Capped }
    /// Whether a policy's verdicts count.
    PolicyModeWord { Enforce, Shadow, Off }
    /// Allow or deny.
    EffectWord { Allow, Deny }
    /// What a verdict says.
    VerdictKindWord { Deny, Warn }
    /// A category of personal data.
    PiiWord { ApiKey, CreditCard, Email, Iban, IpAddress, Phone, UsSsn }
    /// Whether a verdict counted.
    VerdictModeWord { Enforce, Shadow }
}

/// Something that the author of a policy should look at.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a type of another crate")]
pub(super) struct PolicyNote {
    /// From 1.
    line: Option<u32>,
    /// From 1, in characters.
    column: Option<u32>,
    message: String,
}

#[cfg(test)]
mod tests {
    use mindweave_metering::{Effect, VerdictKind, VerdictMode};
    use mindweave_policy::{
        LimitMetric, OnError, OnStale, PolicyMode, QuotaAction, QuotaUnit, QuotaWindow, Reserve,
    };
    use serde::Serialize;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn assert_words<D: PartialSchema>(words: &[impl Serialize]) {
        let described = serde_json::to_value(D::schema()).unwrap();
        assert_eq!(described["enum"], serde_json::to_value(words).unwrap());
    }

    #[test]
    fn the_description_has_the_words_that_answers_have() {
        use LimitMetric::{
            ConcurrentRequests, InputTokensPerMinute, OutputTokensPerMinute, RequestsPerMinute,
            TokensPerMinute,
        };
        let metrics = [
            RequestsPerMinute,
            InputTokensPerMinute,
            OutputTokensPerMinute,
            TokensPerMinute,
            ConcurrentRequests,
        ];
        assert_words::<LimitMetricWord>(&metrics);
        assert_words::<QuotaUnitWord>(&[QuotaUnit::Requests, QuotaUnit::Tokens, QuotaUnit::Cost]);
        let windows =
            [QuotaWindow::Minute, QuotaWindow::Hour, QuotaWindow::Day, QuotaWindow::Week, QuotaWindow::Month];
        assert_words::<QuotaWindowWord>(&windows);
        assert_words::<QuotaActionWord>(&[QuotaAction::Block, QuotaAction::Warn]);
        assert_words::<ReserveWord>(&[Reserve::Max, Reserve::Expected]);
        assert_words::<OnErrorWord>(&[OnError::Deny, OnError::Allow]);
        assert_words::<OnStaleWord>(&[OnStale::Open, OnStale::Closed, OnStale::Capped]);
        assert_words::<PolicyModeWord>(&[PolicyMode::Enforce, PolicyMode::Shadow, PolicyMode::Off]);
        assert_words::<EffectWord>(&[Effect::Allow, Effect::Deny]);
        assert_words::<VerdictKindWord>(&[VerdictKind::Deny, VerdictKind::Warn]);
        assert_words::<PiiWord>(&mindweave_policy::pii::CATEGORIES);
        assert_words::<VerdictModeWord>(&[VerdictMode::Enforce, VerdictMode::Shadow]);
    }

    #[test]
    fn a_scope_is_described_as_one_entry() {
        let described = serde_json::to_value(Scope::schema()).unwrap();
        assert_eq!(
            (&described["minProperties"], &described["maxProperties"]),
            (&Value::from(1), &Value::from(1))
        );
        assert_eq!(described["additionalProperties"], Value::from(false));
    }
}
