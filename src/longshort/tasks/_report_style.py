"""The style of the report's page: light, dark and print, and the classes that its charts use."""

_LIGHT = (
    "--paper:#fff;--ink:#22262d;--soft:#5d6570;--rule:#d9dde3;--mark:#e6f0fa;--model:#0b4a8f;"
    "--band0:#d3e4f5;--band1:#8dbbe6;--band2:#5b97d0;--band3:#3a78b8;"
    "--b0:#b3541e;--b1:#4b7a2f;--b2:#7a7264;--b3:#8a4f9e;--b4:#a8325e;--b5:#00797a"
)
_DARK = (
    "--paper:#15181d;--ink:#e4e7eb;--soft:#a2abb7;--rule:#353b45;--mark:#1d3148;--model:#8cc4ff;"
    "--band0:#1c3048;--band1:#27507c;--band2:#336aa5;--band3:#4583c4;"
    "--b0:#f09a66;--b1:#9fcf7f;--b2:#bdb4a2;--b3:#cf9be2;--b4:#f08bb0;--b5:#5cc9c9"
)

# Baselines differ in colour and in dashes, so that they can be told apart in grey.
_DASHES = ("7 3", "2 3", "2 5", "9 3 2 3", "none", "12 3")

STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"@media print{{:root{{color-scheme:light;{_LIGHT}}}}}"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 16px;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:36px 0 8px}
h3{font-size:1rem;margin:16px 0 4px}
p,ul{margin:0 0 8px;max-width:80ch}
li{overflow-wrap:anywhere}
.small,details,figcaption span{color:var(--soft);font-size:.875rem}
dl{display:flex;flex-wrap:wrap;gap:8px 28px;margin:0}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;font-weight:600}
.scroll{overflow-x:auto;margin:0 0 8px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.925rem;color:var(--ink)}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;
font-weight:400}
thead th{color:var(--soft);font-size:.825rem;vertical-align:bottom}
th:first-child{text-align:left;max-width:18rem;overflow:hidden;text-overflow:ellipsis}
tr.best{background:var(--mark)}
tr.best th,tr.best td{font-weight:600}
.badge{border:1px solid currentColor;border-radius:3px;padding:0 5px;font-size:.7rem;
vertical-align:1px}
summary{cursor:pointer;margin:4px 0}
figure{margin:0;break-inside:avoid}
figcaption{display:flex;justify-content:space-between;gap:12px;overflow-wrap:anywhere}
figcaption b{min-width:0}
figcaption span{white-space:nowrap}
.wide{max-width:760px}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));
gap:20px 28px}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;padding:0;margin:0 0 8px;list-style:none;
font-size:.85rem}
.legend svg{width:26px;height:12px;margin-right:6px;vertical-align:-1px;display:inline}
svg{display:block;width:100%;height:auto;-webkit-print-color-adjust:exact;
print-color-adjust:exact}
svg text{fill:var(--soft);font-size:11px}
svg .end{text-anchor:end}
svg .middle{text-anchor:middle}
svg .grid{stroke:var(--rule);fill:none}
svg .axis{stroke:var(--soft);fill:none}
svg .line{fill:none;stroke-width:1.4;stroke-linejoin:round;stroke-linecap:round}
svg .past{stroke:var(--ink)}
svg .truth{stroke:var(--ink);stroke-dasharray:4 3;stroke-linecap:butt}
svg .model{stroke:var(--model);stroke-width:2.2}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}details{display:none}
.scroll{overflow:visible}tr{break-inside:avoid}
.panels{grid-template-columns:1fr 1fr}}
"""
    + "".join(f"svg .band{i}{{fill:var(--band{i})}}\n" for i in range(4))
    + "".join(
        f"svg .b{i}{{stroke:var(--b{i});stroke-dasharray:{dash};stroke-linecap:butt}}\n"
        for i, dash in enumerate(_DASHES)
    )
)
