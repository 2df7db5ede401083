"""What the site has besides the Markdown files in `docs`.

`formats` writes a page from the table `layouts`; `repository`, `commands` and
`reference` are hooks of MkDocs, which run when the site is built (mkdocs.yml).
"""
