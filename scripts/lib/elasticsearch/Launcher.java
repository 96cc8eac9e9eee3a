// Copyright (c) 2026, Kestra community DR contributors
// GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * One node of Elasticsearch in this process, from the published jars: their own start program is not published.
 * What differs between major versions is marked by "only" and the one that has it.
 * The home is in es.path.home; the password of the user elastic, if security is on, in ELASTIC_PASSWORD.
 */
public class Launcher {
    /** What the modules of our own may ask for. */
    public static volatile Node node;

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(System.getProperty("es.path.home")).toAbsolutePath();
        LogConfigurator.configureESLogging();
        LogConfigurator.registerErrorListener();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            settings(home), Map.of(), home.resolve("config"), () -> "node");
        LogConfigurator.setNodeName(Node.NODE_NAME_SETTING.get(environment.settings()));
        LogConfigurator.configure(environment, true);
        node = new Node(environment, PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(environment.modulesDir()), // only 8
            PluginsLoader.loadPluginsBundles(environment.pluginsDir()), // only 8
            PluginsLoader.loadModulesBundles(environment.modulesDir(), false), // only 9
            PluginsLoader.loadPluginsBundles(environment.pluginsDir(), false), // only 9
            Map.of(), false));
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(stopped), "stop"));
        try {
            node.start();
        } catch (Exception e) {
            // A port in use, a setting that is wrong: its other threads would keep the process.
            e.printStackTrace();
            System.exit(1);
        }
        System.out.println("Elasticsearch started");
        stopped.await();
    }

    private static Settings settings(Path home) throws Exception {
        Settings.Builder settings = Settings.builder().put("path.home", home.toString());
        String password = System.getenv("ELASTIC_PASSWORD");
        if (password != null) {
            KeyStoreWrapper secrets = KeyStoreWrapper.create();
            // Not public: elsewhere the program elasticsearch-keystore does this.
            var set = KeyStoreWrapper.class.getDeclaredMethod("setString", String.class, char[].class);
            set.setAccessible(true);
            set.invoke(secrets, "bootstrap.password", password.toCharArray());
            settings.setSecureSettings(secrets);
        }
        return settings.build();
    }

    private static void stop(CountDownLatch stopped) {
        try {
            node.prepareForClose();
            node.close();
            node.awaitClose(30, TimeUnit.SECONDS);
        } catch (Exception e) {
            e.printStackTrace();
        }
        stopped.countDown();
    }
}
