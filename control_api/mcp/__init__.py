"""The door for agents: the Model Context Protocol, computed from the declarations.

`tools` says what there is, in plain types; `protocol` alone imports the protocol's
package, which takes a second, so nobody else does; `bridge` and `door` serve it over
HTTP beside REST.
"""
