//! `status --html`: the same as one page that needs nothing else, for a browser of any width.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::command::status::{self, Standing};
use crate::primary::survey::{Row, State};
use crate::sys::atomic::{self, Attributes};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--fair:#9a6700;--bad:#cf222e}\
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--fair:#d29922;--bad:#f85149}}\
body{font:1rem/1.5 system-ui,sans-serif;margin:1rem auto;padding:0 1rem;max-width:90rem}\
table{border-collapse:collapse;width:100%}\
caption{text-align:left;padding:.5rem 0}\
th,td{text-align:left;padding:.5rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}\
.good{color:var(--good)}.fair{color:var(--fair)}.bad{color:var(--bad)}\
.state{font-weight:600;overflow-wrap:anywhere}time{white-space:nowrap}\
progress{display:block;width:100%;min-width:5rem;height:.5rem}\
@media(max-width:45rem){thead{position:absolute;left:-99rem}tr{display:block;padding:.5rem 0;border-bottom:2px solid var(--line)}\
tbody th{display:block;border:0;font-size:1.1rem;padding:.25rem 0}\
td{display:grid;grid-template-columns:7rem 1fr;border:0;padding:.25rem 0}td::before{content:attr(data-label);opacity:.7}}";

/// Writes it in place of an older one, for a web server to show or a person to open.
pub fn write(path: &Path, standing: &Standing) -> Result<()> {
    let text = page(standing, Timestamp::now());
    atomic::replace_path(path, text.as_bytes(), &Attributes { mode: 0o644, owner: None })
        .with_context(|| format!("cannot write the page to {}", path.display()))
}

fn page(standing: &Standing, now: Timestamp) -> String {
    let in_line = standing.rows.iter().filter(|row| row.state == State::InLine).count();
    let all = standing.rows.len();
    let title = format!("certcast: {in_line} of {all} in line");
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
    );
    for cause in standing.unfit.iter().chain(&standing.routes) {
        _ = writeln!(page, "<p class=\"state bad\">✗ {}</p>", escaped(cause));
    }
    _ = writeln!(
        page,
        "<table><caption>As of <time datetime=\"{now:.0}\">{now:.0}</time></caption>\n<thead><tr><th scope=\"col\">Node\
         <th scope=\"col\">Certificate<th scope=\"col\">State<th scope=\"col\">Version<th scope=\"col\">Ends\
         <th scope=\"col\">Served<th scope=\"col\">Last delivery</tr></thead>\n<tbody>"
    );
    standing.rows.iter().for_each(|row| page += &line(row));
    page += "</tbody></table></main></body></html>\n";
    page
}

fn line(row: &Row) -> String {
    let (class, mark) = match row.state {
        State::InLine => ("good", '✓'),
        State::Behind | State::Unfinished | State::PartlySeen => ("fair", '!'),
        _ => ("bad", '✗'),
    };
    let [_, _, version, _, served, _] = status::cells(row);
    let cell = |label: &str, content: &str| format!("<td data-label=\"{label}\"><span>{content}</span></td>");
    let last = match (row.last_delivery, &row.last_outcome) {
        (Some(at), Some(outcome)) => format!("<time datetime=\"{at:.0}\">{at:.0}</time> {}", escaped(outcome)),
        _ => "?".to_owned(),
    };
    format!(
        "<tr><th scope=\"row\">{}</th>{}<td data-label=\"State\"><span class=\"state {class}\">{mark} {}</span></td>{}{}{}{}</tr>\n",
        escaped(row.node.as_str()),
        cell("Certificate", &escaped(row.lineage.as_str())),
        escaped(&status::state(row)),
        cell("Version", &escaped(&version)),
        cell("Ends", &ends(row)),
        cell("Served", &escaped(&served)),
        cell("Last delivery", &last)
    )
}

fn ends(row: &Row) -> String {
    let (Some(days), Some(at)) = (row.days_left, row.not_after) else { return "?".to_owned() };
    let life = row.life.max(1);
    let told = match days {
        days if days < 0 => "has ended".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    format!(
        "{told}, <time datetime=\"{at:.0}\">{}</time><progress max=\"{life}\" value=\"{}\" aria-label=\"{told}\"></progress>",
        at.strftime("%Y-%m-%d"),
        days.clamp(0, life)
    )
}

/// What is in a page no mark-up.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::status::tests::row;

    #[test]
    fn the_page_shows_every_row_and_what_a_node_says_is_no_mark_up() {
        let state = State::Unknown { cause: "<script>alert('1')</script>".into() };
        let ill = Row { state, days_left: Some(-3), not_after: Some(Timestamp::UNIX_EPOCH), ..row("web2") };
        let rows = vec![row("web1"), ill];
        let standing =
            Standing { lineages: Vec::new(), rows, unfit: vec!["a & b".into()], routes: Vec::new(), alone: None };
        let page = page(&standing, Timestamp::UNIX_EPOCH);
        assert!(page.contains("<title>certcast: 1 of 2 in line</title>") && page.contains("a &amp; b"), "{page}");
        assert!(
            page.contains("✓ in line") && page.contains("✗ &lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            "{page}"
        );
        assert!(page.contains("has ended, <time datetime=\"1970-01-01T00:00:00Z\">1970-01-01</time>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("http"), "it needs nothing else: {page}");
    }
}
