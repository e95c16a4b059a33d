//! Expansion of a crate's own `macro_rules!` macros, as far as required to find the items that they define.
//!
//! Rules are matched as in the compiler: tokens must be equal, syn parses fragments, and repetitions are greedy.
//! Hygiene is irrelevant for the names of items. Macros of other crates are unknown and define nothing here.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};

/// The macros of a crate by name: the pattern and body of each rule.
#[derive(Default)]
pub(crate) struct Macros {
    rules: BTreeMap<String, Vec<(Vec<TokenTree>, TokenStream)>>,
}

/// The binding of a fragment: tokens, or the bindings in each iteration of a repetition.
#[derive(Clone, Debug)]
enum Bound {
    Tokens(TokenStream),
    Rounds(Vec<Bound>),
}

type Bindings = BTreeMap<String, Bound>;

impl Macros {
    /// Adds a `macro_rules!` definition.
    pub(crate) fn define(&mut self, name: &str, definition: TokenStream) {
        let tokens: Vec<_> = definition.into_iter().collect();
        let rules = tokens.split(|token| is(token, ';')).filter_map(|rule| match rule {
            [TokenTree::Group(pattern), TokenTree::Punct(_), TokenTree::Punct(_), TokenTree::Group(body)] => {
                Some((pattern.stream().into_iter().collect(), body.stream()))
            }
            _ => None,
        });
        self.rules.insert(name.to_owned(), rules.collect());
    }

    /// Expands a call of a macro of this crate; returns `None` for macros of other crates.
    ///
    /// # Panics
    /// If no rule of the macro matches.
    pub(crate) fn expand(&self, call: &syn::Macro) -> Option<TokenStream> {
        let name = call.path.segments.last()?.ident.to_string();
        let rules = self.rules.get(&name)?;
        let input: Vec<_> = call.tokens.clone().into_iter().collect();
        let expanded = rules.iter().find_map(|(pattern, body)| {
            let (bindings, rest) = matched(pattern, &input)?;
            rest.is_empty().then(|| transcribed(body.clone(), &bindings))
        });
        Some(expanded.unwrap_or_else(|| panic!("no rule of `{name}!` matches {}", call.tokens)))
    }
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// A repetition in a pattern or a body.
struct Repetition<'a> {
    inner: Vec<TokenTree>,
    separator: Option<&'a TokenTree>,
    /// The repetition operator: `*`, `+` or `?`.
    operator: char,
    /// The tokens after the repetition.
    rest: &'a [TokenTree],
}

/// Parses the repetition at the beginning of a pattern.
fn repetition(pattern: &[TokenTree]) -> Option<Repetition<'_>> {
    let [dollar, TokenTree::Group(group), rest @ ..] = pattern else { return None };
    if !is(dollar, '$') || group.delimiter() != Delimiter::Parenthesis {
        return None;
    }
    let inner = group.stream().into_iter().collect();
    let operator = |token: &TokenTree| ['*', '+', '?'].into_iter().find(|mark| is(token, *mark));
    match rest {
        [first, rest @ ..] if operator(first).is_some() => {
            Some(Repetition { inner, separator: None, operator: operator(first)?, rest })
        }
        [separator, second, rest @ ..] => {
            Some(Repetition { inner, separator: Some(separator), operator: operator(second)?, rest })
        }
        _ => None,
    }
}

/// Matches a whole pattern with the beginning of the input, and returns the bindings and the remaining input.
fn matched(pattern: &[TokenTree], input: &[TokenTree]) -> Option<(Bindings, Vec<TokenTree>)> {
    if let Some(repetition) = repetition(pattern) {
        return repeated(&repetition, input);
    }
    match pattern {
        [] => Some((Bindings::new(), input.to_vec())),
        [dollar, TokenTree::Ident(name), colon, TokenTree::Ident(kind), rest @ ..]
            if is(dollar, '$') && is(colon, ':') =>
        {
            let (tokens, left) = fragment(&kind.to_string(), input)?;
            let (mut bindings, left) = matched(rest, &left)?;
            bindings.insert(name.to_string(), Bound::Tokens(tokens));
            Some((bindings, left))
        }
        [TokenTree::Group(expected), rest @ ..] => {
            let [TokenTree::Group(found), left @ ..] = input else { return None };
            if found.delimiter() != expected.delimiter() {
                return None;
            }
            let inside = |group: &Group| group.stream().into_iter().collect::<Vec<_>>();
            let (mut bindings, unmatched) = matched(&inside(expected), &inside(found))?;
            let (more, left) = matched(rest, left)?;
            bindings.extend(more);
            unmatched.is_empty().then_some((bindings, left))
        }
        [expected, rest @ ..] => {
            let (found, left) = input.split_first()?;
            (found.to_string() == expected.to_string()).then(|| matched(rest, left)).flatten()
        }
    }
}

/// Matches a repetition as often as possible, or less often if the tokens after it require that.
fn repeated(repetition: &Repetition<'_>, input: &[TokenTree]) -> Option<(Bindings, Vec<TokenTree>)> {
    let Repetition { inner, separator, operator, rest } = repetition;
    let mut rounds = Vec::new();
    let mut lefts = vec![input.to_vec()];
    while *operator != '?' || rounds.is_empty() {
        let mut left = lefts.last()?.as_slice();
        if let (Some(separator), false) = (separator, rounds.is_empty()) {
            match left.split_first() {
                Some((found, after)) if found.to_string() == separator.to_string() => left = after,
                _ => break,
            }
        }
        match matched(inner, left) {
            Some((bindings, after)) if after.len() < left.len() => {
                rounds.push(bindings);
                lefts.push(after);
            }
            _ => break,
        }
    }
    let least = usize::from(*operator == '+');
    while let Some(left) = lefts.pop().filter(|_| rounds.len() >= least) {
        if let Some((mut bindings, left)) = matched(rest, &left) {
            for name in names(inner) {
                let each = rounds.iter().filter_map(|round| round.get(&name).cloned()).collect();
                bindings.insert(name, Bound::Rounds(each));
            }
            return Some((bindings, left));
        }
        rounds.pop()?;
    }
    None
}

/// Returns the fragments that a pattern binds, at any depth.
fn names(pattern: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, token) in pattern.iter().enumerate() {
        match (token, pattern.get(index + 1)) {
            (TokenTree::Group(group), _) => found.extend(names(&group.stream().into_iter().collect::<Vec<_>>())),
            (dollar, Some(TokenTree::Ident(name))) if is(dollar, '$') => found.push(name.to_string()),
            _ => {}
        }
    }
    found
}

/// Parses a fragment of this kind from the input.
fn fragment(kind: &str, input: &[TokenTree]) -> Option<(TokenStream, Vec<TokenTree>)> {
    fn parse<T: Parse + ToTokens>(input: &[TokenTree]) -> Option<(TokenStream, Vec<TokenTree>)> {
        let parser = |stream: ParseStream<'_>| Ok((stream.parse::<T>()?, stream.parse::<TokenStream>()?));
        let (value, rest) = parser.parse2(input.iter().cloned().collect()).ok()?;
        Some((value.into_token_stream(), rest.into_iter().collect()))
    }
    match kind {
        "ident" => parse::<proc_macro2::Ident>(input).or_else(|| match input {
            // Keywords count as identifiers here.
            [TokenTree::Ident(name), rest @ ..] => Some((name.to_token_stream(), rest.to_vec())),
            _ => None,
        }),
        "tt" => input.split_first().map(|(token, rest)| (token.to_token_stream(), rest.to_vec())),
        "literal" => parse::<syn::Lit>(input),
        "expr" => parse::<syn::Expr>(input),
        "ty" => parse::<syn::Type>(input),
        "path" => parse::<syn::Path>(input),
        "vis" => parse::<syn::Visibility>(input),
        "meta" => parse::<syn::Meta>(input),
        "item" => parse::<syn::Item>(input),
        "block" => parse::<syn::Block>(input),
        "lifetime" => parse::<syn::Lifetime>(input),
        other => panic!("fragments of kind `{other}` are not supported here"),
    }
}

/// Returns the body of a rule with its fragments replaced.
fn transcribed(body: TokenStream, bindings: &Bindings) -> TokenStream {
    let body: Vec<_> = body.into_iter().collect();
    let mut out = TokenStream::new();
    let mut left = body.as_slice();
    while let Some((token, after)) = left.split_first() {
        left = after;
        match (token, after.first()) {
            (dollar, Some(TokenTree::Ident(name))) if is(dollar, '$') => {
                left = &after[1..];
                match bindings.get(&name.to_string()) {
                    Some(Bound::Tokens(tokens)) => out.extend(tokens.clone()),
                    _ if name == "crate" => out.extend([TokenTree::Ident(name.clone())]),
                    other => panic!("`${name}` stands for {other:?}"),
                }
            }
            (dollar, Some(TokenTree::Group(_))) if is(dollar, '$') => {
                let whole = [std::slice::from_ref(token), after].concat();
                let Repetition { inner, separator, rest, .. } =
                    repetition(&whole).expect("a repetition ends with its operator");
                left = &after[after.len() - rest.len()..];
                for (number, bindings) in rounds(&inner, bindings).into_iter().enumerate() {
                    out.extend(separator.filter(|_| number > 0).cloned());
                    out.extend(transcribed(inner.iter().cloned().collect(), &bindings));
                }
            }
            (TokenTree::Group(group), _) => {
                let inner = Group::new(group.delimiter(), transcribed(group.stream(), bindings));
                out.extend([TokenTree::Group(inner)]);
            }
            (other, _) => out.extend([other.clone()]),
        }
    }
    out
}

/// Returns the bindings of each iteration of a repetition in the body.
fn rounds(inner: &[TokenTree], bindings: &Bindings) -> Vec<Bindings> {
    let repeated: Vec<_> = names(inner)
        .into_iter()
        .filter_map(|name| match bindings.get(&name) {
            Some(Bound::Rounds(rounds)) => Some((name, rounds)),
            _ => None,
        })
        .collect();
    let count = repeated.iter().map(|(_, rounds)| rounds.len()).max().unwrap_or_default();
    let round = |number: usize| {
        let mut bindings = bindings.clone();
        for (name, rounds) in &repeated {
            if let Some(bound) = rounds.get(number) {
                bindings.insert(name.clone(), bound.clone());
            }
        }
        bindings
    };
    (0..count).map(round).collect()
}
