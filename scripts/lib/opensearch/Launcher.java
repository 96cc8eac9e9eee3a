// Copyright (c) 2026, Kestra community DR contributors
// GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.KeyStoreWrapper;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

/**
 * One node of OpenSearch in this process, from the published jars: their own start program is not published.
 * The home is in opensearch.path.home; the keys of its buckets, if it has any, in S3_ACCESS_KEY and S3_SECRET_KEY.
 */
public class Launcher {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(System.getProperty("opensearch.path.home")).toAbsolutePath();
        LogConfigurator.registerErrorListener();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            settings(home), Map.of(), home.resolve("config"), () -> "node");
        LogConfigurator.setNodeName(Node.NODE_NAME_SETTING.get(environment.settings()));
        LogConfigurator.configure(environment);
        Node node = new Node(environment);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(node, stopped), "stop"));
        try {
            node.start();
        } catch (Exception e) {
            // A port in use, a setting that is wrong: its other threads would keep the process.
            e.printStackTrace();
            System.exit(1);
        }
        System.out.println("OpenSearch started");
        stopped.await();
    }

    private static Settings settings(Path home) {
        Settings.Builder settings = Settings.builder().put("path.home", home.toString());
        if (System.getenv("S3_ACCESS_KEY") != null) {
            // Elsewhere the program opensearch-keystore does this.
            KeyStoreWrapper secrets = KeyStoreWrapper.create();
            secrets.setString("s3.client.default.access_key", System.getenv("S3_ACCESS_KEY").toCharArray());
            secrets.setString("s3.client.default.secret_key", System.getenv("S3_SECRET_KEY").toCharArray());
            settings.setSecureSettings(secrets);
        }
        return settings.build();
    }

    private static void stop(Node node, CountDownLatch stopped) {
        try {
            node.close();
            node.awaitClose(30, TimeUnit.SECONDS);
        } catch (Exception e) {
            e.printStackTrace();
        }
        stopped.countDown();
    }
}
