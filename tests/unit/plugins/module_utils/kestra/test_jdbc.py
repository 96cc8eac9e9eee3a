# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JDBC URLs: hosts, ports, names, credentials and TLS; no message shows a URL."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import jdbc


@pytest.mark.parametrize("url, host, port, database", [
    ("jdbc:postgresql://db1:6000/kestra", "db1", 6000, "kestra"),
    ("jdbc:postgresql://db1/kestra", "db1", 5432, "kestra"),
    ("jdbc:postgresql://db1:/kestra", "db1", 5432, "kestra"),
    ("jdbc:postgresql:///kestra", "localhost", 5432, "kestra"),
    ("jdbc:postgresql:kestra", "localhost", 5432, "kestra"),
    ("jdbc:postgresql:/", "localhost", 5432, None),
    ("jdbc:postgresql://db1/", "db1", 5432, None),
    ("jdbc:postgresql://[::1]:5433/kestra", "::1", 5433, "kestra"),
    ("jdbc:postgresql://[fe80::1]/kestra", "fe80::1", 5432, "kestra"),
    ("jdbc:postgresql://a:1,b:2/kestra", "a,b", "1,2", "kestra"),
    ("jdbc:postgresql://a,b,c/kestra", "a,b,c", 5432, "kestra"),
    ("jdbc:postgresql://a,[::1]:7/kestra", "a,::1", "5432,7", "kestra"),
    ("jdbc:postgresql://db1/my%20db?x=y", "db1", 5432, "my db"),
    ("  jdbc:postgresql://db1/kestra  ", "db1", 5432, "kestra"),
    ("JDBC:postgresql://db1/kestra", "db1", 5432, "kestra"),
    ("jdbc:mysql://db1/kestra", "db1", 3306, "kestra"),
    ("jdbc:mariadb://db1:3307/kestra", "db1", 3307, "kestra"),
    ("jdbc:mysql:loadbalance://a,b:1/kestra", "a,b", "3306,1", "kestra"),
    ("jdbc:mysql://address=(host=a)(port=11),address=(host=b)/kestra", "a,b", "11,3306", "kestra"),
    ("jdbc:mysql://(host=a,port=11)/kestra", "a", 11, "kestra"),
])
def test_where_it_points(url, host, port, database):
    target = jdbc.parse(url)
    assert (target.host, target.port, target.database) == (host, port, database)


@pytest.mark.parametrize("url, driver", [
    ("jdbc:h2:mem:public;DB_CLOSE_DELAY=-1", "h2"), ("jdbc:sqlserver://h;databaseName=k", "sqlserver"),
    ("jdbc:mysql+srv://h/k", "mysql"), ("jdbc:oracle:thin:@h:1521/k", "oracle"),
])
def test_names_the_driver(url, driver):
    assert jdbc.parse(url).driver == driver


@pytest.mark.parametrize("url, user, password", [
    ("jdbc:postgresql://h/d?user=u&password=p%40s%2Bs+x", "u", "p@s+s x"),
    ("jdbc:postgresql://h/d?PASSWORD=p", None, "p"),
    ("jdbc:postgresql://u:p%40x@h/d", "u", "p@x"),
    ("jdbc:mysql://u:p@h/d", "u", "p"),
    ("jdbc:mysql://(host=h,user=u,password=p)/d", "u", "p"),
    ("jdbc:postgresql://h/d", None, None),
])
def test_credentials_in_the_url(url, user, password):
    target = jdbc.parse(url)
    assert (target.user, target.password) == (user, password)
    assert "p@x" not in repr(target)


def test_credentials_before_the_host_get_a_warning_for_postgresql():
    assert "does not take" in jdbc.parse("jdbc:postgresql://u:p@h/d").warnings[0]


@pytest.mark.parametrize("url", [
    "postgresql://h/d", "jdbc:", "jdbc:postgresql", "jdbc:postgresql://h:70000/d", "jdbc:postgresql://h:port/d",
    "jdbc:postgresql://[::1/d", "jdbc:postgresql://::1/d", "jdbc:postgresql://h:0/d", "jdbc:mysql:h/d",
    "jdbc:postgresql://u:hunter2hunter2@h:x/d",
])
def test_a_broken_url_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError) as caught:
        jdbc.parse(url, "datasources.postgres.url")
    told = str(caught.value.to_result())
    assert caught.value.reason == "jdbc_url" and "datasources.postgres.url" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("query, expected", [
    ("", {}),
    ("?sslmode=verify-full&sslrootcert=/etc/ca.pem", {"ssl_mode": "verify-full", "ssl_root_cert": "/etc/ca.pem"}),
    ("?ssl=true", {"ssl_mode": "verify-full"}),
    ("?ssl", {"ssl_mode": "verify-full"}),
    ("?ssl=false", {}),
    ("?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory", {"ssl_mode": "require"}),
    ("?sslmode=require&sslcert=/c.pem&sslkey=/k.pem",
     {"ssl_mode": "require", "ssl_cert": "/c.pem", "ssl_key": "/k.pem"}),
    ("?sslcert=/c.pem&sslkey=/k.pk8", {"ssl_cert": "/c.pem"}),
    ("?targetServerType=any", {}),
    ("?targetServerType=primary", {"target_session_attrs": "read-write"}),
])
def test_tls_in_libpq_terms(query, expected):
    assert jdbc.libpq_options(jdbc.parse("jdbc:postgresql://h/d" + query)) == expected


def test_a_key_libpq_cannot_read_is_said():
    target = jdbc.parse("jdbc:postgresql://h/d?sslkey=/k.pk8")
    jdbc.libpq_options(target)
    assert "PEM" in target.warnings[0]


def test_a_unix_socket():
    target = jdbc.parse("jdbc:postgresql://localhost/kestra?socketFactory=org.newsclub.net.unix."
                        "AFUNIXSocketFactory$FactoryArg&socketFactoryArg=/run/postgresql/.s.PGSQL.5433")
    assert (target.host, target.port) == ("/run/postgresql", 5433)


def test_shows_only_harmless_parameters():
    target = jdbc.parse("jdbc:postgresql://h/d?sslmode=require&password=secret&sslpassword=other&ApplicationName=k")
    assert target.shown_params() == {"applicationname": "k", "sslmode": "require"}


@pytest.mark.parametrize("query, mode", [
    ("", None), ("?sslMode=VERIFY_CA", "verify_ca"), ("?sslMode=disabled", "disabled"), ("?sslMode=odd", None),
    ("?useSSL=false&requireSSL=true", "disabled"), ("?useSSL=true", "required"), ("?requireSSL=true", "required"),
    ("?useSSL=true&verifyServerCertificate=true", "verify_ca")])
def test_connector_j_and_tls(query, mode):
    found = jdbc.connector_options(jdbc.parse("jdbc:mysql://db1/kestra" + query))
    assert found == ({} if mode is None else {"ssl_mode": mode})
